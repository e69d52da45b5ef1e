package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"konto/cmd/konto/datafolder"
	"konto/events"
)

// reply is an answer that arrived whole.
type reply struct {
	status     int
	etag, body string
}

// repeatable sends a value under an Idempotency-Key.
func (w *writer) repeatable(client *http.Client, url string, value int) (reply, error) {
	r, err := http.NewRequest(w.method, url+w.path, strings.NewReader(fmt.Sprintf(w.body, value)))
	if err != nil {
		return reply{}, err
	}
	r.Header.Set("Authorization", "Bearer "+w.write)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", fmt.Sprintf("%s %d", w.account, value))
	answer, err := client.Do(r)
	if err != nil {
		return reply{}, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return reply{answer.StatusCode, answer.Header.Get("ETag"), string(body)}, err
}

// The server is killed while it answers, so some callers have their answer,
// some changes are stored without an answer, and some requests are lost.
// Whoever sends a request again gets its first answer, also when the account was
// changed since: the request's change is not made over it.
func TestRequestRepeatedAfterAKillChangesTheAccountOnce(t *testing.T) {
	folder := t.TempDir()
	writers := newWriters(t, folder)
	binary(t)
	answered, done, lost := 0, 0, 0
	for round := 1; round <= 2**rounds; round++ {
		before := versions(t, folder, writers)
		first := interrupted(t, folder, writers, round)
		stored := versions(t, folder, writers)
		p := startProcess(t, folder)
		for i, w := range writers {
			after := before[i] + 1
			switch {
			case first[i] != nil:
				answered++
			case stored[i] == after:
				done++
			default:
				lost++
			}
			if stored[i] == after {
				w.mustAnswer(t, p.url, round+1_000_000, after+1)
			}
			again := w.mustAnswer(t, p.url, round, after)
			if first[i] != nil && *first[i] != again {
				t.Fatalf("round %d, %s %s: first %+v, again %+v", round, w.method, w.path, *first[i], again)
			}
		}
		p.kill()
	}
	t.Logf("%d answered before the kill, %d stored without an answer, %d lost", answered, done, lost)
}

// interrupted has each writer send a value to a server that is killed meanwhile,
// and returns the answers that arrived.
func interrupted(t *testing.T, folder string, writers []*writer, value int) []*reply {
	t.Helper()
	p := startProcess(t, folder)
	answers := make([]*reply, len(writers))
	var all sync.WaitGroup
	for i, w := range writers {
		all.Go(func() {
			if r, err := w.repeatable(http.DefaultClient, p.url, value); err == nil {
				answers[i] = &r
			}
		})
	}
	time.Sleep(rand.N(16 * time.Millisecond)) // the random moment itself
	p.kill()
	all.Wait()
	return answers
}

// mustAnswer sends a value, which must be answered with a version.
func (w *writer) mustAnswer(t *testing.T, url string, value int, version uint64) reply {
	t.Helper()
	r, err := w.repeatable(http.DefaultClient, url, value)
	if want := fmt.Sprintf(`"%d"`, version); err != nil || r.status != http.StatusOK || r.etag != want {
		t.Fatalf("%s %s with %d: %+v, %v, want version %d", w.method, w.path, value, r, err, version)
	}
	return r
}

// versions are those of the writers' accounts in a folder that nobody serves.
func versions(t *testing.T, folder string, writers []*writer) []uint64 {
	t.Helper()
	h, err := datafolder.Open(t.Context(), datafolder.Config{Path: folder, Holder: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	all := make([]uint64, len(writers))
	for i, w := range writers {
		head, err := h.Store.StreamHead(t.Context(), events.AccountStream(w.account))
		if err != nil {
			t.Fatal(err)
		}
		all[i] = head.Version
	}
	return all
}
