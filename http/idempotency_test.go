package http

import (
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"konto/events"
)

// reply holds the parts of an answer that are the same in a replay.
type reply struct {
	status         int
	etag, location string
	body           string
}

func replyOf(status int, h http.Header, body string) reply {
	return reply{status, h.Get("ETag"), h.Get("Location"), body}
}

// mutations are requests of each contract that change an account of anna's harness.
var mutations = map[string]struct{ method, path, key, body string }{
	"hostup":               {"PATCH", "/api/v2/me", "key", `{"firstName":"Eva"}`},
	"hostup, a password":   {"POST", "/api/v2/me/actions/change-password", "key", `{"newPassword":"correct horse battery"}`},
	"hostup, no change":    {"POST", "/api/v2/me/actions/cancel-email-change", "key", ""},
	"hostup, an address":   {"POST", "/api/v2/me/actions/change-email", "key", `{"newEmail":"eva@example.com"}`},
	"payway":               {"PUT", "/external/api/v1/accounts", "client", `{"id":"50f3ac249f6aef294d000007","first_name":"Eva"}`},
	"payway, earlier":      {"PUT", "/external/api/v0/accounts", "client", `{"id":"50f3ac249f6aef294d000007","first_name":"Eva"}`},
	"payway, in part":      {"PUT", "/external/api/v1/accounts", "client", `{"id":"50f3ac249f6aef294d000007","atomic":false,"first_name":"Eva","email":"bo@example.com","birth_date":"x"}`},
	"payway, a new one":    {"POST", "/external/api/v1/accounts", "client", `{"email":"eva@example.com","password":"correct horse battery"}`},
	"generic":              {"PATCH", "/v1/account", "key", `{"name":"Eva"}`},
	"generic, two at once": {"PATCH", "/v1/account", "key", `{"name":"Eva","email":"eva@example.com"}`},
}

func (h *harness) mutation(t testing.TB, name, idempotencyKey string) *http.Request {
	t.Helper()
	m := mutations[name]
	r, err := http.NewRequestWithContext(t.Context(), m.method, h.server.URL+m.path, strings.NewReader(m.body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+h.words[m.key])
	if m.body != "" {
		r.Header.Set("Content-Type", mediaJSON)
	}
	r.Header.Set("Accept-Encoding", "identity") // answers are compared as they are sent
	r.Header.Set("Idempotency-Key", idempotencyKey)
	return r
}

// replied sends a request and reports whether its answer is a replay.
func (h *harness) replied(r *http.Request) (reply, bool, error) {
	answer, err := h.server.Client().Do(r)
	if err != nil {
		return reply{}, false, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return replyOf(answer.StatusCode, answer.Header, string(body)), answer.Header.Get("Idempotent-Replayed") == "true", err
}

// breaking is a connection that breaks when the answer is about to be sent. It keeps
// the answer, which nobody received.
type breaking struct {
	http.ResponseWriter
	status int
	broken func(reply)
}

func (w *breaking) WriteHeader(status int) { w.status = status }

func (w *breaking) Write(body []byte) (int, error) {
	w.broken(replyOf(w.status, w.Header(), string(body)))
	panic(http.ErrAbortHandler)
}

// TestKillBetweenCommitAndAnswer copies the files when the first answer is about to
// be sent, as a kill would leave them, and starts again with the copy.
func TestKillBetweenCommitAndAnswer(t *testing.T) {
	for name := range mutations {
		t.Run(name, func(t *testing.T) {
			h := anna(t)
			before, left := h.head(), t.TempDir()
			var first reply
			handler := h.server.Config.Handler
			h.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				handler.ServeHTTP(&breaking{ResponseWriter: w, broken: func(unsent reply) {
					first = unsent
					copyFolder(t, h.dir, left)
				}}, r)
			})
			// With keep-alive the client might send it again by itself.
			h.server.Client().Transport.(*http.Transport).DisableKeepAlives = true
			if answer, _, err := h.replied(h.mutation(t, name, "k")); err == nil {
				t.Fatalf("the answer came through: %+v", answer)
			}
			again := openHarness(t, left)
			again.words = h.words
			stored := again.since(before)
			h.must(again.follower.WaitFor(t.Context(), again.head()))
			answer, replayed, err := again.replied(again.mutation(t, name, "k"))
			if err != nil || !replayed || answer != first || first.body == "" {
				t.Errorf("answered %+v, replayed %v, %v\nwhere the first answer was %+v", answer, replayed, err, first)
			}
			changes := name != "hostup, no change"
			if now := again.since(before); changes != (len(stored) > 0) || len(now) != len(stored) {
				t.Errorf("%d events after the request, %d when it was sent again", len(stored), len(now))
			}
		})
	}
}

// copyFolder copies the log and the keys, while nothing is written to them. It does
// not copy the read model, which konto rebuilds.
func copyFolder(t testing.TB, from, to string) {
	for _, name := range []string{"keys.db", "keys.db-wal", "log.db", "log.db-wal"} {
		data, err := os.ReadFile(filepath.Join(from, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), data, 0o600)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

func TestOnlyOneOfManyEqualRequestsIsExecuted(t *testing.T) {
	for name, m := range mutations {
		t.Run(name, func(t *testing.T) {
			requests := 64
			if strings.Contains(m.body, "assword") {
				requests = 8 // hashing one costs much, on purpose
			}
			h := anna(t)
			before := h.head()
			replies := make([]reply, requests)
			replays := together(requests, func(i int) bool {
				answer, replayed, err := h.replied(h.mutation(t, name, "k"))
				if err != nil {
					t.Error(err)
				}
				replies[i] = answer
				return replayed
			})
			for _, answer := range replies {
				if answer != replies[0] || answer.status >= 300 {
					t.Fatalf("answers differ:\n%+v\n%+v", answer, replies[0])
				}
			}
			requestIDs := map[string]bool{}
			for _, e := range h.since(before) {
				requestIDs[e.Metadata.RequestID] = true
			}
			if replays != requests-1 || len(requestIDs) > 1 {
				t.Errorf("%d replays, events of %d requests", replays, len(requestIDs))
			}
		})
	}
}

// TestEveryMutationAcceptsAnIdempotencyKey finds routes that ignore it.
func TestEveryMutationAcceptsAnIdempotencyKey(t *testing.T) {
	covered := map[string]bool{}
	for _, m := range mutations {
		covered[m.method+" "+m.path] = true
	}
	for _, path := range confirmations {
		covered["POST "+path] = true
	}
	covered["POST /oauth/token"] = true // changes no account
	for _, r := range routes() {
		if r.method != http.MethodGet && !covered[r.method+" "+r.path] {
			t.Errorf("%s %s is not tested with an Idempotency-Key", r.method, r.path)
		}
	}
}

// confirmations need a mailed code.
var confirmations = []string{"/api/v2/me/actions/confirm-email-change", "/v1/account/confirm-email"}

// TestCodeConfirmsOnlyOnce checks that a replay gets its answer although the code is
// used up.
func TestCodeConfirmsOnlyOnce(t *testing.T) {
	for _, path := range confirmations {
		h := anna(t)
		_, _, err := h.replied(h.mutation(t, "hostup, an address", "request"))
		h.must(err)
		stored := h.since(h.head() - 1)
		p, err := stored[0].Payload()
		h.must(err)
		codes := events.NewEmailCodes(h.store.Derive)
		body := `{"code":"` + codes.Code(p.(events.EmailChangeRequested).Request) + `"}`
		first, answer := h.send("POST", path, "key", strings.NewReader(body), "Idempotency-Key", "k")
		before := h.head()
		again, repeated := h.send("POST", path, "key", strings.NewReader(body), "Idempotency-Key", "k")
		if first != 200 || again != first || repeated != answer || h.head() != before {
			t.Errorf("%s: %d %s\nand then %d %s", path, first, answer, again, repeated)
		}
	}
}

// TestIdempotencyKeysBelongToTheirCredential sends the same request with the same
// key from another credential. It is another request.
func TestIdempotencyKeysBelongToTheirCredential(t *testing.T) {
	h := anna(t)
	h.key("other", events.KeyIssued{Account: h.ids["bo"], Scopes: []string{"write:account"}})
	first, _, err := h.replied(h.mutation(t, "hostup", "k"))
	h.must(err)
	r := h.mutation(t, "hostup", "k")
	r.Header.Set("Authorization", "Bearer "+h.words["other"])
	if answer, replayed, err := h.replied(r); err != nil || replayed || answer.status != 200 || answer.body == first.body {
		t.Errorf("%+v, %v, %v", answer, replayed, err)
	}
}

// TestReplayHasTheTimeOfTheFirstAnswer checks that a request which has expired since
// is shown as pending, as in the first answer.
func TestReplayHasTheTimeOfTheFirstAnswer(t *testing.T) {
	h := anna(t)
	cfg, days := h.cfg, 0
	cfg.Now = func() time.Time { return time.Now().AddDate(0, 0, days) }
	send := func() (reply, http.Header) {
		w := httptest.NewRecorder()
		New(cfg).ServeHTTP(w, h.mutation(t, "hostup, an address", "k"))
		return replyOf(w.Code, w.Header(), w.Body.String()), w.Header()
	}
	first, _ := send()
	days = 1
	again, header := send()
	if again != first || header.Get("Idempotent-Replayed") != "true" || !strings.Contains(first.body, `"eva@example.com"`) {
		t.Errorf("%+v\n%+v", again, first)
	}
}

// TestFingerprintsAreThoseOfEarlierBuilds holds because a request that was executed
// before an upgrade must be found after it.
func TestFingerprintsAreThoseOfEarlierBuilds(t *testing.T) {
	r := httptest.NewRequestWithContext(t.Context(), "PATCH", "/v1/account?a=b", nil)
	r.Header["If-Match"] = []string{`"1"`, `"2"`}
	x := &exchange{r: r, body: []byte("{}")}
	if got, want := x.fingerprint(), sha256.Sum256([]byte("PATCH\x00/v1/account?a=b\x00\"1\",\"2\"\x00{}")); got != want {
		t.Errorf("got %x, want %x", got, want)
	}
}

func TestMalformedIdempotencyKeys(t *testing.T) {
	h := anna(t)
	before := h.head()
	for name, values := range map[string][]string{
		"empty": {""}, "too long": {strings.Repeat("k", maxIdempotencyKey+1)}, "not ASCII": {"nyckel-å"},
		"unprintable": {"a\tb"}, "two": {"a", "b"},
	} {
		for contract := range mutations {
			r := h.mutation(t, contract, "")
			r.Header["Idempotency-Key"] = values
			if answer, _, err := h.replied(r); err != nil || answer.status != 400 || !strings.Contains(answer.body, "Idempotency-Key") {
				t.Errorf("%s, %s: %+v, %v", contract, name, answer, err)
			}
		}
	}
	if h.head() != before {
		t.Error("something was stored")
	}
	r := h.mutation(t, "hostup", " ~"+strings.Repeat("k", maxIdempotencyKey-2))
	if answer, _, err := h.replied(r); err != nil || answer.status != 200 {
		t.Errorf("the longest: %+v, %v", answer, err)
	}
}
