package main

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"konto/eventstore/sqlitefile"
)

func TestHealthAsksTheServer(t *testing.T) {
	folder := furnished(t)
	refused(t, exitFailed, konto(t, "health", "--data", folder), "no server runs on "+folder)
	server, _, _ := serve(t, folder)
	if r := konto(t, "health", "--data", folder); r.status != exitDone || r.stdout != "konto is ready.\n" {
		t.Errorf("exit %d: %s%s", r.status, r.stdout, r.stderr)
	}
	if shown := mustJSON(t, "health", "--data", folder); shown["ready"] != true {
		t.Errorf("as JSON: %v", shown)
	}
	// The log refuses what is appended, as on a full disk.
	log, err := sqlitefile.OpenWriter(filepath.Join(folder, "log.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if _, err := log.Exec("CREATE TRIGGER full BEFORE INSERT ON receipts BEGIN SELECT RAISE(FAIL, 'no space is left'); END"); err != nil {
		t.Fatal(err)
	}
	r := konto(t, "health", "--data", folder)
	for deadline := time.Now().Add(patience); r.status == exitDone && time.Now().Before(deadline); { // a good answer lasts a second
		r = konto(t, "health", "--data", folder)
	}
	if r.status != exitFailed || !strings.HasPrefix(r.stdout, "konto is not ready.\nThe log cannot be appended to: ") || !strings.Contains(r.stdout, "no space is left") {
		t.Errorf("exit %d: %s%s", r.status, r.stdout, r.stderr)
	}
	if _, err := log.Exec("DROP TRIGGER full"); err != nil {
		t.Fatal(err)
	}
	must(t, "health", "--data", folder)
	if n := len(mustLines(t, "events", "list", "--data", folder)); n != 1 {
		t.Errorf("the probes left %d events", n)
	}
	server.stop()
	refused(t, exitFailed, konto(t, "health", "--data", folder), "no server runs on "+folder)
}

// Who watches konto learns that it hangs, and why it stopped.
func TestHealthTurnsRedWhenTheServerHangs(t *testing.T) {
	folder := furnished(t)
	cmd := exec.Command(binary(t), "serve", "--data", folder, "--http", "127.0.0.1:0", "--nats-listen", "off")
	stderr := newWatched()
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stderr.find(t, readyLine)
	must(t, "health", "--data", folder)
	signal := func(s syscall.Signal) {
		t.Helper()
		if err := cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	signal(syscall.SIGSTOP)
	refused(t, exitFailed, konto(t, "health", "--data", folder, "--timeout", "200ms"), "does not answer within 200ms")
	signal(syscall.SIGCONT)
	must(t, "health", "--data", folder)
	signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`msg="konto stops" reason="signal: terminated"`, `msg="konto has stopped" took=`} {
		if !strings.Contains(stderr.String(), part) {
			t.Errorf("%s is not in %s", part, stderr)
		}
	}
}

// NATS may be away: updates are taken, so konto is ready, and says what waits.
func TestReadinessWarnsOfWhatWaits(t *testing.T) {
	t.Parallel()
	folder := furnished(t)
	_, url, _ := serve(t, folder, "--nats-url", "nats://127.0.0.1:1")
	if status, body := send(t, "GET", url+"/readyz", "", ""); status != 200 || !strings.Contains(body, "Warning: nats waits for NATS. Nothing is lost. ") {
		t.Errorf("answered %d %s", status, body)
	}
}

func TestLogIsJSONAndSaysWhatHappens(t *testing.T) {
	folder := furnished(t)
	server := start(t, "serve", "--data", folder, "--http", "127.0.0.1:0", "--nats-listen", "off", "--log-format", "json", "--access-log")
	url := server.stderr.find(t, regexp.MustCompile(`"msg":"konto is ready","http":"([^"]+)"`))[1]
	send(t, "GET", url+"/v1/account", "none", "")
	server.stop()
	var messages []string
	for line := range strings.Lines(server.stderr.String()) {
		l := object(t, line)
		messages = append(messages, l["msg"].(string))
		if l["msg"] == "konto starts" && (l["version"] == "" || l["store"] != "SQLite" || l["data"] != folder || l["http"] != url) {
			t.Errorf("the start is %s", line)
		}
	}
	if want := []string{"konto starts", "konto is ready", "request", "konto stops", "konto has stopped"}; !slices.Equal(messages, want) {
		t.Errorf("logged %q", messages)
	}
	refused(t, exitUsage, konto(t, "serve", "--data", folder, "--log-level", "loud"), "--log-level")
}
