package main

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"konto/cmd/konto/datafolder"
	"konto/cmd/kontobench/bench"
)

// benchProcess is a bench in a process of its own. It finds the konto beside it.
func benchProcess(t *testing.T, args ...string) (cmd *exec.Cmd, scratch string) {
	t.Helper()
	scratch = t.TempDir()
	// The variables are an operator's, for another server: the bench's minds none.
	cmd = exec.Command(program(t, "kontobench"), append([]string{"--data", filepath.Join(scratch, "konto-data")}, args...)...)
	cmd.Env = append(os.Environ(), "KONTO_NATS_URL=nats://127.0.0.1:1", "KONTO_RATE_LIMIT=1/m")
	return cmd, scratch
}

// benched runs a small bench and returns its report.
func benched(t *testing.T, args ...string) map[string]any {
	t.Helper()
	cmd, scratch := benchProcess(t, append([]string{"--json", "--seconds", "0.1", "--connections", "4"}, args...)...)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	printed, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, complaint.String())
	}
	empty(t, scratch)
	return object(t, string(printed))
}

// figures checks that all members of an object are there and above 0.
func figures(t *testing.T, what string, v any, names ...string) {
	t.Helper()
	members, _ := v.(map[string]any)
	for _, name := range names {
		if n, _ := members[name].(float64); !(n > 0) {
			t.Errorf("%s: %s is %v", what, name, members[name])
		}
	}
}

// list checks how long one is and returns it.
func list(t *testing.T, what string, v any, n int) []any {
	t.Helper()
	all, _ := v.([]any)
	if len(all) != n {
		t.Fatalf("%s: %d instead of %d", what, len(all), n)
	}
	return all
}

func withoutErrors(t *testing.T, what string, v any) {
	t.Helper()
	if n := v.(map[string]any)["errors"]; n != 0.0 {
		t.Errorf("%s: %v errors", what, n)
	}
}

func TestBenchMeasuresAFreshKonto(t *testing.T) {
	r := benched(t, "--accounts", "20", "--seconds", "0.5") // one update in ten has a webhook
	figures(t, "machine", r["machine"], "cpus")
	store := r["store"].(map[string]any)
	figures(t, "store", store, "rawRowsPerSecond")
	for i, a := range list(t, "appends", store["appends"], 2) {
		figures(t, "appends", a, "perSecond", "ofRaw", "p50Ms", "p99Ms")
		if clients := a.(map[string]any)["clients"]; clients != []float64{64, 256}[i] {
			t.Errorf("%v clients", clients)
		}
	}
	for i, q := range list(t, "http", r["http"], 4) {
		figures(t, "http", q, "accounts", "perSecond", "p50Ms", "p99Ms", "benchCpuUs")
		withoutErrors(t, "http", q)
		got := q.(map[string]any)
		if got["method"] != []string{"PATCH", "PATCH", "GET", "GET"}[i] || got["accounts"] != []float64{20, 1, 20, 1}[i] {
			t.Errorf("%v", got)
		}
	}
	for _, l := range list(t, "lags", r["lags"], 2) {
		figures(t, "updates", l, "updatesPerSecond", "p50Ms", "p99Ms")
		withoutErrors(t, "updates", l)
		for i, to := range list(t, "to", l.(map[string]any)["to"], 3) {
			what := []string{"read model", "published", "webhook"}[i]
			figures(t, what, to, "events")
			if _, ok := to.(map[string]any)["maxMs"].(float64); !ok { // 0 when the news was as early as the answer
				t.Errorf("%s: maxMs is %v", what, to.(map[string]any)["maxMs"])
			}
			if printed := to.(map[string]any)["what"]; printed != what {
				t.Errorf("%v instead of %s", printed, what)
			}
		}
	}
	figures(t, "rebuild", r["rebuild"], "events", "perSecond", "rawPerSecond", "ofRaw")
	if bench.Process(os.Getpid()).Memory() != nil { // it is known on this system
		figures(t, "memory", r["memory"], "begunMiB", "endedMiB", "mostMiB")
	}
}

func TestBenchMeasuresGrowth(t *testing.T) {
	r := benched(t, "--growth", "--events", "100,300", "--of-accounts", "10,30")
	// An account has its opening and a key; the load before adds to what follows.
	least := []map[string]float64{{"events": 100, "accounts": 25}, {"events": 300, "accounts": 25}, {"events": 20, "accounts": 10}, {"events": 60, "accounts": 30}}
	for i, g := range list(t, "growth", r["growth"], len(least)) {
		grown := g.(map[string]any)
		figures(t, "growth", grown, "logMiB", "startMs")
		if grown["accounts"] != least[i]["accounts"] || grown["events"].(float64) < least[i]["events"] {
			t.Errorf("%v of at least %v", grown, least[i])
		}
		for _, method := range []string{"patch", "get"} {
			figures(t, method, grown[method], "perSecond", "p99Ms")
			withoutErrors(t, method, grown[method])
		}
	}
}

func TestBenchMeasuresARunningKonto(t *testing.T) {
	place := filepath.Join(t.TempDir(), "new")
	prepared := object(t, must(t, "--prepare", place, "--accounts", "3", "--prepare-events", "20", "--json"))
	data, targets := prepared["data"].(string), prepared["targets"].(string)
	refused(t, exitFailed, kontobench(t, "--prepare", place), "prepared already")
	server := serve(t, data)
	url := server.url
	health, err := http.Get(url + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer health.Body.Close()
	if body, err := io.ReadAll(health.Body); err != nil || object(t, string(body))["head"] != 20.0 {
		t.Errorf("the log has not 20 events: %s, %v", body, err)
	}
	r := object(t, must(t, "--url", url, "--targets", targets, "--seconds", "0.1", "--connections", "2", "--json"))
	if r["accounts"] != 3.0 || r["store"] != nil || r["memory"] != nil {
		t.Errorf("%v", r)
	}
	for _, q := range list(t, "http", r["http"], 4) {
		figures(t, "http", q, "perSecond")
		withoutErrors(t, "http", q)
	}
	if printed := must(t, "--url", url, "--targets", targets, "--seconds", "0.1"); !strings.Contains(printed, "requests/s") || !strings.Contains(printed, "PATCH") {
		t.Errorf("%s", printed)
	}

	wrong := filepath.Join(t.TempDir(), "wrong")
	for text, part := range map[string]string{
		"/api/v2/me\tnobody\n":           "401",
		"/v1/account\tnobody\n":          "line 1",
		"/api/v2/me\tone\n/api/v2/me \n": "line 2",
		"":                               "no target",
	} {
		if err := os.WriteFile(wrong, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, exitFailed, kontobench(t, "--url", url, "--targets", wrong), part)
	}
	stopped(t, server)
	refused(t, exitFailed, kontobench(t, "--url", url, "--targets", targets), "refused")
}

func TestInterruptedBenchLeavesNothing(t *testing.T) {
	cmd, scratch := benchProcess(t, "--accounts", "5", "--seconds", "3600", "--growth", "--events", "100", "--of-accounts", "5")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	child := untilLoaded(t, scratch)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitFailed || !strings.Contains(stderr.String(), "interrupted") {
		t.Errorf("%v: %s", err, &stderr)
	}
	if err := syscall.Kill(child, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the server is still there: %v", err)
	}
	empty(t, scratch)
}

// untilLoaded waits until the server of a bench takes in updates, and returns its
// process.
func untilLoaded(t *testing.T, scratch string) (process int) {
	t.Helper()
	serving := regexp.MustCompile(`^konto serve \(process (\d+)\)`)
	first := 0 // of two: it only begins the folder
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		folders, err := filepath.Glob(filepath.Join(scratch, "konto-bench-*", "data"))
		if err != nil || len(folders) == 0 {
			continue
		}
		holder, _ := os.ReadFile(filepath.Join(folders[0], datafolder.HolderName))
		found := serving.FindSubmatch(holder)
		if found == nil {
			continue
		}
		if process, err = strconv.Atoi(string(found[1])); err != nil {
			t.Fatal(err)
		}
		if first == 0 {
			first = process
		}
		wal, err := os.Stat(filepath.Join(folders[0], "log.db-wal"))
		if process != first && err == nil && wal.Size() > 0 {
			return process
		}
	}
	t.Fatal("its server was never under load")
	return 0
}
