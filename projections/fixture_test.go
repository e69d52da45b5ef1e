package projections

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/memory"
)

// fixture is a log with a real keyring, a read model and the follower between them.
type fixture struct {
	t        testing.TB
	dir      string
	keys     *keyring.Keyring
	log      *memory.Log
	store    *eventstore.Store
	model    *ReadModel
	follower *Follower
}

func newFixture(t testing.TB) *fixture {
	h := &fixture{t: t, dir: t.TempDir(), log: memory.New()}
	master := sha256.Sum256([]byte(t.Name()))
	keys, err := keyring.Open(t.Context(), filepath.Join(h.dir, "keys.db"), master[:])
	h.must(err)
	t.Cleanup(func() { keys.Close() })
	h.keys, h.store = keys, eventstore.NewStore(h.log, keys)
	h.openModel()
	t.Cleanup(func() { h.model.Close() })
	return h
}

func (h *fixture) path() string { return filepath.Join(h.dir, "read.db") }

func (h *fixture) openModel() {
	h.t.Helper()
	model, err := OpenReadModel(h.t.Context(), h.path(), h.log, h.keys)
	h.must(err)
	h.model = model
	h.follower = NewFollower(FollowerConfig{Name: "read-model", Store: h.store, Projection: model})
}

func (h *fixture) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// run starts the follower; it is stopped, and has to have gone well, at the test's end.
func (h *fixture) run() {
	ctx, stop := context.WithCancel(context.Background())
	follower, done := h.follower, make(chan error, 1)
	go func() { done <- follower.Run(ctx) }()
	h.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			h.t.Errorf("follower: %v", err)
		}
	})
}

// drain waits until the read model has everything.
func (h *fixture) drain() {
	h.t.Helper()
	head, err := h.store.Head(h.t.Context())
	h.must(err)
	h.must(h.follower.WaitFor(h.t.Context(), head))
}

// append adds payloads to a stream that is at a version and returns the position.
func (h *fixture) append(stream events.Stream, version uint64, payloads ...events.Payload) uint64 {
	h.t.Helper()
	position, err := h.tryAppend(stream, version, payloads...)
	h.must(err)
	return position
}

func (h *fixture) tryAppend(stream events.Stream, version uint64, payloads ...events.Payload) (uint64, error) {
	evs := make([]events.Event, len(payloads))
	for i, p := range payloads {
		var err error
		if evs[i], err = events.New(stream, version+uint64(i)+1, ulid.Make(), time.Now(), events.Metadata{}, p); err != nil {
			return 0, err
		}
	}
	return h.store.Append(h.t.Context(), stream, version, nil, evs)
}

func (h *fixture) openAccount(email string) ulid.ULID {
	h.t.Helper()
	id := ulid.Make()
	h.append(events.AccountStream(id), 0, events.AccountOpened{Email: email, PaywayID: "5f0000000000000000000001"})
	return id
}

func (h *fixture) issueKey(key events.KeyIssued) (id ulid.ULID, token string) {
	h.t.Helper()
	id = ulid.Make()
	secret := sha256.Sum256(id[:])
	key.SecretHash = events.HashSecret(secret)
	h.append(events.CredentialStream(id), 0, key)
	return id, events.Token(id, secret)
}

// poison appends, beneath the store's codec, an event that nobody can decode.
func (h *fixture) poison(stream events.Stream, version uint64, name, data string) uint64 {
	h.t.Helper()
	e := events.Event{ID: ulid.Make(), Stream: stream, Version: version + 1, Type: name, Time: time.Now().UTC().Truncate(time.Millisecond), Data: []byte(data)}
	position, err := h.store.Append(h.t.Context(), stream, version, nil, []events.Event{e})
	h.must(err)
	return position
}

// all reads the log from a position on.
func (h *fixture) all(after uint64) []events.Event {
	h.t.Helper()
	evs, err := h.store.ReadAll(h.t.Context(), after, 1<<20)
	h.must(err)
	return evs
}

func (h *fixture) account(id ulid.ULID) events.Account {
	h.t.Helper()
	a, ok, err := h.model.Account(h.t.Context(), id)
	h.must(err)
	if !ok {
		h.t.Fatalf("account %s is not in the read model", id)
	}
	return a
}

func (h *fixture) position() uint64 {
	h.t.Helper()
	position, err := h.model.Position(h.t.Context())
	h.must(err)
	return position
}

// clearCaches leaves the read model with its file alone.
func (h *fixture) clearCaches() {
	h.model.accounts = newCache[*events.Account](cachedAccounts)
	h.model.credentials = newCache[events.Credential](cachedCredentials)
}

func named(name string) events.ProfileUpdated {
	return events.ProfileUpdated{FirstName: events.Set(name)}
}

// recorder is a projection that records the positions of events. It fails if fail is set.
type recorder struct {
	applied []uint64
	batches int
	fail    func(batch []events.Event) error
}

func (r *recorder) Position(context.Context) (uint64, error) {
	if len(r.applied) == 0 {
		return 0, nil
	}
	return r.applied[len(r.applied)-1], nil
}

func (r *recorder) Apply(ctx context.Context, batch []events.Event) error {
	r.batches++
	if r.fail != nil {
		if err := r.fail(batch); err != nil {
			return err
		}
	}
	for _, e := range batch {
		r.applied = append(r.applied, e.Position)
	}
	return ctx.Err()
}

var errFaulty = errors.New("faulty")

// failAt fails on a batch that holds the position.
func failAt(position uint64) func([]events.Event) error {
	return func(batch []events.Event) error {
		for _, e := range batch {
			if e.Position == position {
				return errFaulty
			}
		}
		return nil
	}
}

func sequence(from, to uint64) string {
	var s []uint64
	for p := from; p <= to; p++ {
		s = append(s, p)
	}
	return fmt.Sprint(s)
}
