package deliveries

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/memory"
	"konto/projections/webhook"
)

// harness is a log with a keyring, third parties, a store, and deliveries that a test starts
// and stops. The endpoints are a function.
type harness struct {
	t      testing.TB
	log    eventstore.Log
	keys   eventstore.Keys
	store  *eventstore.Store
	cfg    Config // without Sender: the endpoints are a function
	path   string // of the store
	db     Store
	wrap   func(*File) Store // makes db of the file, if it is not nil
	d      *Deliveries
	end    func()
	logged bytes.Buffer // the log lines; read only what stopped deliveries wrote

	mu       sync.Mutex
	versions map[ulid.ULID]uint64
	parties  []ulid.ULID
	sent     []request
	endpoint func(request) webhook.Answer
}

// request is what an endpoint got.
type request struct {
	ctx     context.Context
	node    string // that sent it, "" if there is but one
	party   string
	account ulid.ULID
	version uint64
	event   ulid.ULID
	name    string // of the event
	at      time.Time
}

func newHarness(t testing.TB) *harness {
	h := &harness{t: t, log: memory.New(), versions: map[ulid.ULID]uint64{}, endpoint: delivered}
	dir := t.TempDir()
	master := sha256.Sum256([]byte(t.Name()))
	keys, err := keyring.Open(t.Context(), filepath.Join(dir, "keys.db"), master[:])
	h.must(err)
	t.Cleanup(func() { keys.Close() })
	h.keys, h.path = keys, filepath.Join(dir, "deliveries.db")
	h.store = eventstore.NewStore(h.log, h.keys)
	t.Cleanup(func() {
		h.stop()
		if h.db != nil {
			h.db.Close()
		}
	})
	return h
}

func (h *harness) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// start opens the store and runs deliveries.
func (h *harness) start() {
	h.t.Helper()
	file, err := OpenFile(h.t.Context(), FileConfig{Path: h.path, Log: h.log, Keys: h.keys})
	h.must(err)
	h.db = file
	if h.wrap != nil {
		h.db = h.wrap(file)
	}
	cfg := h.cfg
	cfg.Store, cfg.Records, cfg.DB, cfg.Parties, cfg.Registry = h.store, h.log, h.db, h, h
	if cfg.Sender == nil {
		cfg.Sender = h
	}
	cfg.Log = slog.New(slog.NewTextHandler(&h.logged, nil))
	h.d, err = New(cfg)
	h.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, run := range []func(context.Context) error{h.d.Run, h.d.Follower().Run} {
		running.Go(func() {
			if err := run(ctx); err != nil {
				h.t.Error(err)
			}
		})
	}
	h.end = func() {
		cancel()
		running.Wait()
	}
}

// stop ends deliveries in order.
func (h *harness) stop() {
	if h.end != nil {
		h.end()
		h.end = nil
		h.must(h.db.Close())
		h.db = nil
	}
}

func (h *harness) restart() {
	h.t.Helper()
	h.stop()
	h.start()
}

// Send implements Sender.
func (h *harness) Send(ctx context.Context, party events.ThirdParty, e events.Event) webhook.Answer {
	return h.sendFrom(ctx, "", party, e)
}

func (h *harness) sendFrom(ctx context.Context, node string, party events.ThirdParty, e events.Event) webhook.Answer {
	_, account, _ := e.Stream.Split()
	name, _, _ := strings.Cut(e.Type, ".")
	r := request{ctx, node, party.Name, account, e.Version, e.ID, name, time.Now()}
	h.mu.Lock()
	h.sent = append(h.sent, r)
	endpoint := h.endpoint
	h.mu.Unlock()
	return endpoint(r)
}

// answer sets what the endpoints do from now on.
func (h *harness) answer(endpoint func(request) webhook.Answer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.endpoint = endpoint
}

func delivered(request) webhook.Answer {
	return webhook.Answer{Verdict: webhook.Delivered, Status: 204}
}

func failed(request) webhook.Answer { return webhook.Answer{Verdict: webhook.Failed, Status: 500} }

func always(a webhook.Answer) func(request) webhook.Answer {
	return func(request) webhook.Answer { return a }
}

// requests returns what was sent since the last call.
func (h *harness) requests() []request {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := h.sent
	h.sent = nil
	return all
}

// versionsOf are the versions that were sent of an account since the last call
// of requests, each once for each time.
func (h *harness) versionsOf(account ulid.ULID) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []uint64
	for _, r := range h.sent {
		if r.account == account {
			all = append(all, r.version)
		}
	}
	return fmt.Sprint(all)
}

func (h *harness) append(stream events.Stream, owner ulid.ULID, payloads ...events.Payload) (position uint64) {
	h.t.Helper()
	h.mu.Lock()
	version := h.versions[owner]
	h.versions[owner] += uint64(len(payloads))
	h.mu.Unlock()
	evs := make([]events.Event, len(payloads))
	for i, p := range payloads {
		var err error
		evs[i], err = events.New(stream, version+uint64(i)+1, ulid.Make(), time.Now(), events.Metadata{}, p)
		h.must(err)
	}
	position, err := h.store.Append(context.Background(), stream, version, nil, evs)
	h.must(err)
	return position
}

// open opens an account. No third party wants that event.
func (h *harness) open() ulid.ULID {
	h.t.Helper()
	id := ulid.Make()
	h.append(events.AccountStream(id), id, events.AccountOpened{Email: "anna@example.com", PaywayID: "5f0000000000000000000001"})
	return id
}

// change changes an account's address so many times.
func (h *harness) change(account ulid.ULID, times int) (position uint64) {
	h.t.Helper()
	changes := make([]events.Payload, times)
	for i := range changes {
		changes[i] = events.EmailChanged{PreviousEmail: "a@example.com", NewEmail: "b@example.com", How: events.EmailDirect}
	}
	return h.append(events.AccountStream(account), account, changes...)
}

// add registers a third party.
func (h *harness) add(name string) ulid.ULID { return h.addAt(name, "https://example.com") }

func (h *harness) addAt(name, url string) ulid.ULID {
	h.t.Helper()
	id := ulid.Make()
	h.mu.Lock()
	h.parties = append(h.parties, id)
	h.mu.Unlock()
	h.append(events.ThirdPartyStream(id), id, events.ThirdPartyAdded{
		Name: name, URL: url, Format: events.FormatCloudEvents, Events: []string{"EmailChanged"},
		Secret: events.WebhookSecrets{HMAC: make([]byte, 32), Ed25519Seed: make([]byte, 32)},
	})
	return id
}

func (h *harness) happen(party ulid.ULID, p events.Payload) {
	h.t.Helper()
	h.append(events.ThirdPartyStream(party), party, p)
}

// Position implements Parties.
func (h *harness) Position(ctx context.Context) (uint64, error) { return h.store.Head(ctx) }

// ThirdParties implements Parties.
func (h *harness) ThirdParties(ctx context.Context) ([]events.ThirdParty, error) {
	h.mu.Lock()
	ids := slices.Clone(h.parties)
	h.mu.Unlock()
	var all []events.ThirdParty
	for _, id := range ids {
		evs, err := h.store.ReadStream(ctx, events.ThirdPartyStream(id), 0, 1<<20)
		if err != nil {
			return nil, err
		}
		var state events.ThirdParty
		for _, e := range evs {
			p, err := e.Payload()
			if err != nil {
				return nil, err
			}
			state.Apply(e, p)
		}
		if state.Exists() {
			all = append(all, state)
		}
	}
	return all, nil
}

func (h *harness) party(id ulid.ULID) events.ThirdParty {
	h.t.Helper()
	all, err := h.ThirdParties(context.Background())
	h.must(err)
	for _, p := range all {
		if p.ID == id {
			return p
		}
	}
	h.t.Fatalf("no third party %s", id)
	panic("unreachable")
}

// Disable implements Registry.
func (h *harness) Disable(_ context.Context, id ulid.ULID, reason string) (uint64, error) {
	return h.append(events.ThirdPartyStream(id), id, events.ThirdPartyDisabled{Reason: reason}), nil
}

// Checkpoint implements Registry.
func (h *harness) Checkpoint(_ context.Context, id ulid.ULID, position uint64) (uint64, error) {
	return h.append(events.ThirdPartyStream(id), id, events.ThirdPartyCheckpointed{Position: position}), nil
}

func (h *harness) status(party ulid.ULID) PartyStatus {
	h.t.Helper()
	for _, s := range h.d.Status() {
		if s.ID == party {
			return s
		}
	}
	h.t.Fatalf("no status of %s", party)
	panic("unreachable")
}

// outcomes are those of the delivery log, oldest first.
func (h *harness) outcomes(f Filter) (all []string) {
	h.t.Helper()
	attempts, err := h.db.Attempts(context.Background(), f)
	h.must(err)
	for _, a := range attempts {
		all = append(all, a.Outcome)
	}
	return all
}

// virtual runs a test whose clock turns when nothing else happens.
func virtual(t *testing.T, test func(h *harness)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		defer h.stop()
		test(h)
	})
}

// pass lets time go by, and all that happens in it.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
