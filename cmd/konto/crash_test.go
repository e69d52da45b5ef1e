package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/datafolder"
	"konto/events"
)

// The suite's proof needs 200 rounds (-rounds=200); five
// show that the test itself works.
var rounds = flag.Int("rounds", 3, "how often the server is killed")

// writer changes one account through one contract, again and again, and
// remembers what was acknowledged.
type writer struct {
	account    ulid.ULID
	read       string // a token that may read the account
	write      string // a token for the contract
	method     string
	path, body string // body holds one %d, the value
	next       int    // value to send
	acked      []ack  // since they were last found in the log
	last       ack    // ever
}

type ack struct {
	value   int
	version uint64
}

// process is the real program.
type process struct {
	cmd    *exec.Cmd
	stderr *watched
	url    string
}

func startProcess(t testing.TB, folder string, args ...string) *process {
	t.Helper()
	p := launch(t, folder, args...)
	p.url = p.stderr.find(t, readyLine)[1]
	return p
}

// launch is startProcess without waiting until it is ready. Of a flag that is
// given twice the last counts.
func launch(t testing.TB, folder string, args ...string) *process {
	t.Helper()
	p := &process{stderr: newWatched()}
	p.cmd = exec.Command(binary(t), append([]string{"serve", "--data", folder, "--http", "127.0.0.1:0", "--nats-listen", "off"}, args...)...)
	p.cmd.Stderr = p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.kill() })
	return p
}

func (p *process) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

func TestNothingAcknowledgedIsLostWhenKilled(t *testing.T) {
	folder := t.TempDir()
	writers := newWriters(t, folder)
	binary(t) // built before the first start is timed
	var starting time.Duration
	acknowledged, n := 0, *rounds
	for round := range n {
		began := time.Now()
		p := startProcess(t, folder)
		starting += time.Since(began)
		for _, w := range writers {
			w.checkAnswer(t, p.url)
		}
		load(t, p, writers)
		for _, w := range writers {
			acknowledged += len(w.acked)
		}
		checkLog(t, folder, writers)
		if t.Failed() {
			t.Fatalf("in round %d", round+1)
		}
	}
	t.Logf("%d rounds, %d acknowledged updates, a start takes %s", n, acknowledged, starting/time.Duration(n))
	if acknowledged < n {
		t.Errorf("only %d updates were acknowledged in %d rounds", acknowledged, n)
	}
	// What was killed before it was published is published by the next ordered run.
	server, _, _ := serve(t, folder)
	server.stop()
	if n := checkPublished(t, folder); n < acknowledged {
		t.Errorf("%d events were published, %d updates acknowledged", n, acknowledged)
	}
}

// newWriters makes three accounts for each contract.
func newWriters(t *testing.T, folder string) []*writer {
	t.Helper()
	client := mustJSON(t, "key", "issue", "--data", folder, "--client", "crash", "--scope", "/external/account/w")["token"].(string)
	var all []*writer
	for i := range 9 {
		opened := mustJSON(t, "account", "open", "--data", folder, "--email", fmt.Sprintf("a%d@example.com", i), "--first-name", "v0", "--last-name", "v0")
		id := opened["id"].(string)
		token := mustJSON(t, "key", "issue", "--data", folder, "--account", id, "--scope", "read:account", "--scope", "write:account")["token"].(string)
		w := &writer{account: ulid.MustParse(id), read: token, write: token, next: 1}
		switch i % 3 {
		case 0:
			w.method, w.path, w.body = "PATCH", "/api/v2/me", `{"firstName":"v%d"}`
		case 1:
			w.method, w.path, w.body = "PATCH", "/v1/account", `{"name":"Anna v%d"}`
		case 2:
			w.method, w.path, w.write = "PUT", "/external/api/v1/accounts", client
			w.body = `{"id":"` + opened["paywayId"].(string) + `","first_name":"v%d"}`
		}
		all = append(all, w)
	}
	return all
}

// load has all writers at work at once, and kills the server at a random
// moment of it.
func load(t *testing.T, p *process, writers []*writer) {
	t.Helper()
	loadFor(t, p, writers, time.Duration(rand.IntN(120))*time.Millisecond)
}

// loadFor is load for a moment that was chosen.
func loadFor(t *testing.T, p *process, writers []*writer, moment time.Duration) {
	t.Helper()
	var killed atomic.Bool
	var all sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: len(writers)}, Timeout: patience}
	defer client.CloseIdleConnections()
	for _, w := range writers {
		all.Go(func() {
			for {
				a, err := w.update(client, p.url)
				if err != nil {
					if !killed.Load() {
						t.Errorf("%s %s: %v", w.method, w.path, err)
					}
					return
				}
				w.acked, w.last = append(w.acked, a), a
			}
		})
	}
	time.Sleep(moment) // the random moment itself
	killed.Store(true)
	p.kill()
	all.Wait()
}

// update sends the next value and returns what was acknowledged.
func (w *writer) update(client *http.Client, url string) (ack, error) {
	value := w.next
	w.next++
	r, err := http.NewRequest(w.method, url+w.path, strings.NewReader(fmt.Sprintf(w.body, value)))
	if err != nil {
		return ack{}, err
	}
	r.Header.Set("Authorization", "Bearer "+w.write)
	r.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(r)
	if err != nil {
		return ack{}, err
	}
	defer answer.Body.Close()
	// The header alone acknowledges: a kill may cut off the body.
	body, _ := io.ReadAll(answer.Body)
	if answer.StatusCode != http.StatusOK {
		return ack{}, fmt.Errorf("answered %d %s", answer.StatusCode, body)
	}
	version, err := entityVersion(answer.Header)
	return ack{value, version}, err
}

func entityVersion(h http.Header) (uint64, error) {
	version, err := strconv.ParseUint(strings.Trim(h.Get("ETag"), `"`), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("ETag is %q", h.Get("ETag"))
	}
	return version, nil
}

var shownValue = regexp.MustCompile(`"name":"[^"]*?v(\d+)(?: v0)?"`)

// checkAnswer reads the account after a restart: nothing older than what was
// acknowledged may be shown.
func (w *writer) checkAnswer(t *testing.T, url string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url+"/api/v2/me", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+w.read)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("answered %d %s, %v", answer.StatusCode, body, err)
	}
	version, err := entityVersion(answer.Header)
	if err != nil {
		t.Fatal(err)
	}
	shown := shownValue.FindSubmatch(body)
	if shown == nil {
		t.Fatalf("no value in %s", body)
	}
	if value, _ := strconv.Atoi(string(shown[1])); value < w.last.value || version < w.last.version {
		t.Errorf("%s %s: value %d at version %d was acknowledged, value %d at version %d is shown",
			w.method, w.path, w.last.value, w.last.version, value, version)
	}
}

// checkLog checks the whole log, and finds each acknowledged update in it at the
// version that its answer named.
func checkLog(t *testing.T, folder string, writers []*writer) {
	t.Helper()
	h, err := datafolder.Open(t.Context(), datafolder.Config{Path: folder, Holder: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := h.Log.CheckChain(t.Context(), nil); err != nil {
		t.Error(err)
	}
	for _, w := range writers {
		for _, a := range w.acked {
			if err := inLog(t.Context(), h, w.account, a); err != nil {
				t.Errorf("%s %s, value %d: %v", w.method, w.path, a.value, err)
			}
		}
		w.acked = nil
	}
}

func inLog(ctx context.Context, folder *datafolder.Folder, account ulid.ULID, a ack) error {
	found, err := folder.Store.ReadStream(ctx, events.AccountStream(account), a.version-1, 1)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return errors.New("acknowledged and not in the log")
	}
	if value := fmt.Sprintf(`"v%d"`, a.value); !strings.Contains(string(found[0].Data), value) {
		return fmt.Errorf("version %d is another update", a.version)
	}
	return nil
}
