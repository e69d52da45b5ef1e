package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
	syscall.Umask(0o077)            // as main does; the test's own data folders are refused otherwise
	os.Unsetenv("KONTO_MASTER_KEY") // the tests' data folders have master keys of their own
	status := m.Run()
	if program.folder != "" {
		os.RemoveAll(program.folder)
	}
	os.Exit(status)
}

// program is the real binary, built once for the tests that need a process.
var program struct {
	once   sync.Once
	folder string
	err    error
}

func binary(t testing.TB) string {
	t.Helper()
	program.once.Do(func() {
		if program.folder, program.err = os.MkdirTemp("", "konto-binary-"); program.err != nil {
			return
		}
		if program.err = os.Chmod(program.folder, 0o755); program.err != nil { // other users run it too
			return
		}
		path := filepath.Join(program.folder, "konto")
		out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
		if err == nil {
			err = os.Chmod(path, 0o755)
		}
		if err != nil {
			program.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	if program.err != nil {
		t.Fatal(program.err)
	}
	return filepath.Join(program.folder, "konto")
}

// result is what became of a command line.
type result struct {
	status         int
	stdout, stderr string
}

// konto runs a command line in this process.
func konto(t testing.TB, args ...string) result {
	t.Helper()
	return kontoWith(t, "", args...)
}

func kontoWith(t testing.TB, stdin string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var stdout, stderr bytes.Buffer
	status := run(ctx, args, strings.NewReader(stdin), &stdout, &stderr)
	return result{status, stdout.String(), stderr.String()}
}

// begunLine is what a command says of a konto that it began.
var begunLine = regexp.MustCompile(`^konto: a new konto was begun in .*\n`)

// must runs a command line that has to succeed and returns what it prints. It may
// begin a konto.
func must(t testing.TB, args ...string) string {
	t.Helper()
	r := konto(t, args...)
	if r.status != 0 || begunLine.ReplaceAllString(r.stderr, "") != "" {
		t.Fatalf("konto %s: exit %d: %s", strings.Join(args, " "), r.status, r.stderr)
	}
	return r.stdout
}

// mustJSON is must with --json for a command that prints one object.
func mustJSON(t testing.TB, args ...string) map[string]any {
	t.Helper()
	all := mustLines(t, args...)
	if len(all) != 1 {
		t.Fatalf("konto %s printed %d lines", strings.Join(args, " "), len(all))
	}
	return all[0]
}

// mustLines is must with --json for a command that prints an object a line.
func mustLines(t testing.TB, args ...string) []map[string]any {
	t.Helper()
	var all []map[string]any
	for line := range strings.Lines(must(t, append(args, "--json")...)) {
		all = append(all, object(t, line))
	}
	return all
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
	if !strings.HasPrefix(r.stderr, "konto: ") || strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("not one sentence: %q", r.stderr)
	}
	for _, part := range parts {
		if !strings.Contains(r.stderr, part) {
			t.Errorf("%q does not say %q", r.stderr, part)
		}
	}
}

// running is a command that runs in this process until it is stopped.
type running struct {
	t      *testing.T
	cancel context.CancelFunc
	stdout *watched
	stderr *watched
	status chan int
	once   sync.Once
	ended  int
}

func start(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	r := &running{t: t, cancel: cancel, stdout: newWatched(), stderr: newWatched(), status: make(chan int, 1)}
	go func() { r.status <- run(ctx, args, strings.NewReader(""), r.stdout, r.stderr) }()
	t.Cleanup(func() { r.stop() })
	return r
}

// stop interrupts it and returns its exit status.
func (r *running) stop() int {
	r.t.Helper()
	r.cancel()
	return r.wait()
}

func (r *running) wait() int {
	r.t.Helper()
	r.once.Do(func() {
		select {
		case r.ended = <-r.status:
		case <-time.After(patience):
			r.t.Fatal("did not end")
		}
	})
	return r.ended
}

var readyLine = regexp.MustCompile(`msg="konto is ready" http=(\S+) nats=(\S+)`)

// serve starts a server on free ports and returns when it is ready.
func serve(t *testing.T, folder string, args ...string) (r *running, http, nats string) {
	t.Helper()
	r = start(t, append([]string{"serve", "--data", folder, "--http", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0"}, args...)...)
	found := r.stderr.find(t, readyLine)
	return r, found[1], found[2]
}

// watched collects what is written, and lets a test wait for a part of it.
type watched struct {
	mu      sync.Mutex
	text    []byte
	changed chan struct{}
}

func newWatched() *watched { return &watched{changed: make(chan struct{})} }

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, p...)
	close(w.changed)
	w.changed = make(chan struct{})
	return len(p), nil
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.text)
}

// find waits until what was written matches.
func (w *watched) find(t testing.TB, what *regexp.Regexp) []string {
	t.Helper()
	timeout := time.After(patience)
	for {
		w.mu.Lock()
		text, changed := string(w.text), w.changed
		w.mu.Unlock()
		if found := what.FindStringSubmatch(text); found != nil {
			return found
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("%s was never written, but %q", what, text)
		}
	}
}

// send makes a request and returns its status and body.
func send(t *testing.T, method, url, token, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// empty checks that nothing was left behind, not even the data folder that was named.
func empty(t *testing.T, folder string) {
	t.Helper()
	left, err := os.ReadDir(folder)
	if err != nil || len(left) > 0 {
		t.Errorf("%v remains, %v", left, err)
	}
}
