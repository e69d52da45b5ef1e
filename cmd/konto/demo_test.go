package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"konto/cmd/konto/datafolder"
)

var (
	curlLine = regexp.MustCompile(`(?m)^curl .*$`)
	tailLine = regexp.MustCompile(`(?m)^go run \./cmd/konto (events tail --after 0 --data '(.*)')\n`)
	natsLine = regexp.MustCompile(`(?m)^nats .*'\n`)
)

// bash runs a printed line as it is. curl reads a configuration that makes it
// fail for any answer above 399.
func bash(t *testing.T, line string) string {
	t.Helper()
	home := t.TempDir()
	if err := os.WriteFile(filepath.Join(home, ".curlrc"), []byte("fail-with-body\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "-c", line)
	cmd.Env = append(os.Environ(), "CURL_HOME="+home)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

func TestDemoPrintsLinesThatWork(t *testing.T) {
	demo := start(t, "demo", "--http", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0")
	demo.stdout.find(t, natsLine)
	lines := curlLine.FindAllString(demo.stdout.String(), -1)
	for _, contract := range []string{"/api/v2/me", "/external/api/v1/accounts", "/external/api/v0/accounts", "/v1/account"} {
		if !strings.Contains(strings.Join(lines, "\n"), contract) {
			t.Errorf("no line for %s", contract)
		}
	}
	for _, line := range lines {
		if answer := object(t, bash(t, line)); answer["id"] == nil {
			t.Errorf("%s answered %v", line, answer)
		}
	}
	printed := tailLine.FindStringSubmatch(demo.stdout.String())
	if printed == nil {
		t.Fatalf("no line to watch events in %s", demo.stdout)
	}
	tail := start(t, strings.Fields(strings.ReplaceAll(printed[1], "'", ""))...)
	tail.stdout.find(t, regexp.MustCompile(`EmailChanged\.v1.*new_email@example\.com`))
	if status := demo.stop(); status != exitDone || demo.stderr.String() != "" {
		t.Errorf("ended with %d: %s", status, demo.stderr)
	}
	if !datafolder.Missing(printed[2]) {
		t.Errorf("left %s behind", printed[2])
	}
}

func TestDemoContinuesInTheFolderThatWasGiven(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "demo")
	for range 2 {
		demo := start(t, "demo", "--data", folder, "--http", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0")
		demo.stdout.find(t, natsLine)
		for _, line := range curlLine.FindAllString(demo.stdout.String(), -1) {
			bash(t, line)
		}
		if n := len(mustLines(t, "account", "list", "--data", folder)); n != 3 {
			t.Errorf("%d accounts", n)
		}
		if status := demo.stop(); status != exitDone {
			t.Errorf("ended with %d: %s", status, demo.stderr)
		}
	}
}

func TestDemoTakesFreePortsIfTheUsualOnesAreTaken(t *testing.T) {
	first := start(t, "demo")
	first.stdout.find(t, natsLine)
	second := start(t, "demo")
	second.stdout.find(t, natsLine)
	for _, line := range curlLine.FindAllString(second.stdout.String(), -1) {
		bash(t, line)
	}
}
