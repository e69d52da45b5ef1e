package http

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/oklog/ulid/v2"

	"konto/commands"
	"konto/events"
	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/sqlite"
	"konto/projections"
)

// harness is a konto in a folder of its own, behind a real HTTP server.
type harness struct {
	t           testing.TB
	dir         string
	store       *eventstore.Store
	accounts    *commands.Accounts
	credentials *commands.Credentials
	follower    *projections.Follower
	server      *httptest.Server
	log         *lockedBuffer
	cfg         Config
	events      eventstore.Log
	words       map[string]string // what ${...} stands for in scripts
	ids         map[string]ulid.ULID
}

func newHarness(t testing.TB) *harness {
	t.Helper()
	return openHarness(t, t.TempDir())
}

// openHarness opens the folder's files, as a start of konto does.
func openHarness(t testing.TB, dir string) *harness {
	t.Helper()
	h := &harness{t: t, dir: dir, words: map[string]string{}, ids: map[string]ulid.ULID{}, log: &lockedBuffer{}}
	master := sha256.Sum256([]byte("a konto for tests"))
	keys, err := keyring.Open(t.Context(), filepath.Join(dir, "keys.db"), master[:])
	h.must(err)
	t.Cleanup(func() { keys.Close() })
	log, err := sqlite.Open(t.Context(), filepath.Join(dir, "log.db"))
	h.must(err)
	t.Cleanup(func() { log.Close() })
	h.events, h.store = log, eventstore.NewStore(log, keys)
	model, err := projections.OpenReadModel(t.Context(), filepath.Join(dir, "read.db"), log, keys)
	h.must(err)
	t.Cleanup(func() { model.Close() })
	h.follower = projections.NewFollower(projections.FollowerConfig{Name: "read-model", Store: h.store, Projection: model})
	h.accounts = commands.NewAccounts(commands.Config{Store: h.store})
	h.credentials = commands.NewCredentials(h.store, nil)
	h.run()
	h.cfg = Config{
		Accounts: h.accounts,
		Reader:   &projections.Reader{Store: h.store, Model: model, Follower: h.follower},
		Access:   model,
		TokenKey: keys.Derive(TokenPurpose),
		Health:   func() []projections.Status { return []projections.Status{h.follower.Status()} },
		Log:      slog.New(slog.NewTextHandler(h.log, nil)),
	}
	h.server = httptest.NewServer(New(h.cfg))
	t.Cleanup(h.server.Close)
	return h
}

// run follows the log until the test ends.
func (h *harness) run() {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.follower.Run(ctx) }()
	h.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil && !errors.Is(err, eventstore.ErrClosed) {
			h.t.Errorf("follower: %v", err)
		}
	})
}

func (h *harness) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// closeLog makes every further append fail.
func (h *harness) closeLog() {
	h.t.Helper()
	h.must(h.events.Close())
}

// open opens an account, which scripts know by a name.
func (h *harness) open(name string, o commands.Open) ulid.ULID {
	h.t.Helper()
	id := ulid.Make()
	if o.PaywayID == "" {
		sum := sha256.Sum256([]byte(name))
		o.PaywayID = hex.EncodeToString(sum[:12])
	}
	_, err := h.accounts.Do(h.t.Context(), id, events.Metadata{}, o)
	h.must(err)
	h.ids[name] = id
	h.words[name+".id"] = strings.ToLower(id.String())
	h.words[name+".payway"] = o.PaywayID
	return id
}

// erase appends AccountErased, as an erasure does.
func (h *harness) erase(name string) {
	h.t.Helper()
	stream := events.AccountStream(h.ids[name])
	head, err := h.store.StreamHead(h.t.Context(), stream)
	h.must(err)
	e, err := events.New(stream, head.Version+1, ulid.Make(), time.Now(), events.Metadata{}, events.AccountErased{})
	h.must(err)
	_, err = h.store.Append(h.t.Context(), stream, head.Version, nil, []events.Event{e})
	h.must(err)
}

func (h *harness) key(name string, spec events.KeyIssued) {
	h.t.Helper()
	issued, err := h.credentials.IssueKey(h.t.Context(), events.Metadata{}, spec)
	h.issued(name, issued, err)
}

func (h *harness) session(name string, spec events.SessionOpened) {
	h.t.Helper()
	issued, err := h.credentials.OpenSession(h.t.Context(), events.Metadata{}, spec)
	h.issued(name, issued, err)
}

func (h *harness) issued(name string, issued commands.Issued, err error) {
	h.t.Helper()
	h.must(err)
	h.must(h.follower.WaitFor(h.t.Context(), issued.Position))
	h.ids[name], h.words[name] = issued.ID, issued.Token
	h.words[name+".credential"] = issued.ID.String()
	h.words[name+".basic"] = base64.StdEncoding.EncodeToString([]byte(issued.ID.String() + ":" + issued.Token))
}

// head returns the log's last position.
func (h *harness) head() uint64 {
	h.t.Helper()
	head, err := h.store.Head(h.t.Context())
	h.must(err)
	return head
}

// since lists the events after a position.
func (h *harness) since(position uint64) []events.Event {
	h.t.Helper()
	evs, err := h.store.ReadAll(h.t.Context(), position, 100)
	h.must(err)
	return evs
}

func parse[T any](t testing.TB, text string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v, json.RejectUnknownMembers(true)); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

// lockedBuffer is a log that a test reads while the server may write.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
