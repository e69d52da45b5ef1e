package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

// patience bounds every wait of these tests; none is expected to need it.
const patience = time.Minute

func TestMain(m *testing.M) {
	syscall.Umask(0o077) // as main does
	status := m.Run()
	if programs.folder != "" {
		os.RemoveAll(programs.folder)
	}
	os.Exit(status)
}

// programs are the real binaries, built once.
var programs struct {
	once   sync.Once
	folder string
	err    error
	said   []byte
}

// program is the path of konto or kontobench, which are beside each other.
func program(t testing.TB, name string) string {
	t.Helper()
	p := &programs
	p.once.Do(func() {
		if p.folder, p.err = os.MkdirTemp("", "kontobench-"); p.err == nil {
			p.said, p.err = exec.Command("go", "build", "-o", p.folder, "konto/cmd/konto", "konto/cmd/kontobench").CombinedOutput()
		}
	})
	if p.err != nil {
		t.Fatalf("build: %v\n%s", p.err, p.said)
	}
	return filepath.Join(p.folder, name)
}

// result is what became of a command line.
type result struct {
	status         int
	stdout, stderr string
}

// kontobench runs a command line in this process.
func kontobench(t testing.TB, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var stdout, stderr bytes.Buffer
	status := run(ctx, args, &stdout, &stderr)
	return result{status, stdout.String(), stderr.String()}
}

// must runs a command line that has to succeed and returns what it prints.
func must(t testing.TB, args ...string) string {
	t.Helper()
	r := kontobench(t, args...)
	if r.status != exitDone {
		t.Fatalf("kontobench %s: exit %d: %s", strings.Join(args, " "), r.status, r.stderr)
	}
	return r.stdout
}

// konto runs konto, which has to succeed, and returns what it prints.
func konto(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t, "konto"), args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if err != nil {
		t.Fatalf("konto %s: %v: %s", strings.Join(args, " "), err, &stderr)
	}
	return string(stdout)
}

func object(t testing.TB, line string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(line), &v); err != nil {
		t.Fatalf("not a JSON object: %q: %v", line, err)
	}
	return v
}

// refused checks that a command line fails with one sentence that holds all of parts.
func refused(t *testing.T, status int, r result, parts ...string) {
	t.Helper()
	if r.status != status {
		t.Errorf("exit %d instead of %d: %s", r.status, status, r.stderr)
	}
	if r.stdout != "" {
		t.Errorf("printed %q", r.stdout)
	}
	if !strings.HasPrefix(r.stderr, "kontobench: ") || strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("not one sentence: %q", r.stderr)
	}
	for _, part := range parts {
		if !strings.Contains(r.stderr, part) {
			t.Errorf("%q does not say %q", r.stderr, part)
		}
	}
}

// serve starts a server with konto's own flags for a measurement.
func serve(t *testing.T, folder string) *benchServer {
	t.Helper()
	s, err := startBenchServer(t.Context(), program(t, "konto"), folder)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// stopped stops a server.
func stopped(t *testing.T, s *benchServer) {
	t.Helper()
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
}

// empty checks that nothing was left behind, not even the data folder that was named.
func empty(t *testing.T, folder string) {
	t.Helper()
	left, err := os.ReadDir(folder)
	if err != nil || len(left) > 0 {
		t.Errorf("%v remains, %v", left, err)
	}
}
