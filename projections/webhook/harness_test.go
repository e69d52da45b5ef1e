package webhook

import (
	"crypto/ed25519"
	"crypto/sha256"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/memory"
	"konto/projections"
)

var (
	accountID = ulid.MustParse("01HXA3B4C5D6E7F8G9H0J1K2M3")
	partyID   = ulid.MustParse("01HXA3B4C5D6E7F8G9H0J1K2P0")
	testID    = ulid.MustParse("01HXA3B4C5D6E7F8G9H0J1K2T0")
	opened    = time.Date(2021, 3, 22, 14, 1, 7, 737_000_000, time.UTC)
)

// harness is a log with an account in it, and what a sender needs.
type harness struct {
	t     testing.TB
	store *eventstore.Store
	cfg   Config
	last  events.Event
}

func newHarness(t testing.TB) *harness {
	t.Helper()
	master := sha256.Sum256([]byte("a key for tests"))
	keys, err := keyring.Open(t.Context(), filepath.Join(t.TempDir(), "keys.db"), master[:])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keys.Close() })
	store := eventstore.NewStore(memory.New(), keys)
	return &harness{t: t, store: store, cfg: Config{
		Accounts: projections.NewPast(store), Issuer: "https://konto.example.com", TokenKey: testKey(),
		Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Now:   func() time.Time { return opened },
	}}
}

func testKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte("TESTSIGNINGKEYDONOTUSETHISFORANY"))
}

// append adds an event to the account, an hour after the one before.
func (h *harness) append(p events.Payload) events.Event {
	h.t.Helper()
	version := h.last.Version
	id := accountID
	id[15] += byte(version) + 1
	stream, meta := events.AccountStream(accountID), events.Metadata{RequestID: "req_01HXA3B4C5D6E7F8G9H0J1K2R0"}
	e, err := events.New(stream, version+1, id, opened.Add(time.Duration(version)*time.Hour), meta, p)
	if err != nil {
		h.t.Fatal(err)
	}
	if e.Position, err = h.store.Append(h.t.Context(), stream, version, nil, []events.Event{e}); err != nil {
		h.t.Fatal(err)
	}
	h.last = e
	return e
}

func (h *harness) sender() *Sender {
	h.t.Helper()
	s, err := NewSender(h.cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// party is a third party with the format, at the URL.
func party(format, url string) events.ThirdParty {
	return events.ThirdParty{
		ID: partyID, Name: "crm", URL: url, Format: format,
		Secret: events.WebhookSecrets{HMAC: []byte("the shared secret, present"), Ed25519Seed: []byte("the present seed for tests, 32 b")},
	}
}

// changed is an email change of an account with few other fields.
func (h *harness) changed() events.Event {
	h.append(events.AccountOpened{Email: "anna@example.com", PaywayID: "50f3ac249f6aef294d000007"})
	return h.append(events.EmailChanged{PreviousEmail: "anna@example.com", NewEmail: "anna@example.org", How: events.EmailDirect})
}

// received is a request as an endpoint saw it.
type received struct {
	header http.Header
	body   []byte
}

// endpoint is a real server that keeps the requests it gets, and answers with answer.
func endpoint(t *testing.T, answer http.HandlerFunc) (url string, got <-chan received) {
	t.Helper()
	requests := make(chan received, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			// The sender has closed the connection.
			return
		}
		requests <- received{r.Header, body}
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, requests
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}
