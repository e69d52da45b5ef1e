package deliveries

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/memory"
)

// storeHarness is a store with a log, a real keyring and a clock that a test sets.
type storeHarness struct {
	t      testing.TB
	dir    string
	keys   eventstore.Keys
	log    *memory.Log
	config FileConfig
	now    time.Time
	Store
	sqlite    *File                 // the store, if it is one
	openStore func() (Store, error) // nil for a File
	count     func() int            // attempts in a store that is no File
}

func newStoreHarness(t testing.TB, bounds ...FileConfig) *storeHarness {
	b := prepareStore(t, bounds...)
	b.open()
	return b
}

// prepareStore makes everything but the store.
func prepareStore(t testing.TB, bounds ...FileConfig) *storeHarness {
	b := &storeHarness{t: t, dir: t.TempDir(), log: memory.New(), now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	b.keys = b.openKeys("keys.db")
	for _, config := range bounds {
		b.config = config
	}
	b.config.Path, b.config.Log, b.config.Keys = filepath.Join(b.dir, "deliveries.db"), b.log, b.keys
	b.config.Now = func() time.Time { return b.now }
	t.Cleanup(func() {
		if b.Store != nil {
			b.Close()
		}
	})
	return b
}

func (b *storeHarness) openKeys(name string) eventstore.Keys {
	b.t.Helper()
	master := sha256.Sum256([]byte(b.t.Name()))
	keys, err := keyring.Open(b.t.Context(), filepath.Join(b.dir, name), master[:])
	b.must(err)
	b.t.Cleanup(func() { keys.Close() })
	return keys
}

func (b *storeHarness) open() {
	b.t.Helper()
	if b.openStore != nil {
		var err error
		b.Store, err = b.openStore()
		b.must(err)
		return
	}
	opened, err := OpenFile(b.t.Context(), b.config)
	b.must(err)
	b.Store, b.sqlite = opened, opened
}

func (b *storeHarness) reopen() {
	b.t.Helper()
	b.must(b.Close())
	b.open()
}

func (b *storeHarness) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// happen opens an account and returns its event.
func (b *storeHarness) happen() events.Event {
	b.t.Helper()
	stream := events.AccountStream(ulid.Make())
	e, err := events.New(stream, 1, ulid.Make(), b.now, events.Metadata{}, events.AccountOpened{Email: "anna@example.com"})
	b.must(err)
	e.Position, err = eventstore.NewStore(b.log, b.keys).Append(b.t.Context(), stream, 0, nil, []events.Event{e})
	b.must(err)
	return e
}

func account(e events.Event) ulid.ULID {
	_, id, _ := e.Stream.Split()
	return id
}

// result is what Store.Save stores of an attempt. Without an account the delivery is not
// changed, and without an event there is no attempt.
type result struct {
	Party    ulid.ULID
	Delivery Delivery
	Attempt  Attempt
}

// result is that of an attempt with e, by its outcome.
func (b *storeHarness) result(party ulid.ULID, e events.Event, outcome, excerpt string) result {
	d := Delivery{Account: account(e), Version: e.Version, Position: e.Position}
	if outcome == OutcomeRetrying {
		d = Delivery{Account: account(e), Attempts: 1, Since: b.now, Next: b.now.Add(5 * time.Second)}
	}
	return result{Party: party, Delivery: d, Attempt: Attempt{
		Party: party, Account: account(e), Event: e.ID, Type: e.Type, Position: e.Position, Number: 1,
		At: b.now, Outcome: outcome, Status: 200, Latency: 1500 * time.Microsecond, Excerpt: excerpt,
	}}
}

// store stores a result in one transaction.
func (b *storeHarness) store(ctx context.Context, r result) error {
	var d *Delivery
	var a *Attempt
	if r.Delivery.Account != ulid.Zero {
		d = &r.Delivery
	}
	if r.Attempt.Event != ulid.Zero {
		a = &r.Attempt
	}
	return b.Save(ctx, r.Party, d, a)
}

func (b *storeHarness) save(r result) {
	b.t.Helper()
	b.must(b.store(context.Background(), r))
}

func (b *storeHarness) attempts(f Filter) []Attempt {
	b.t.Helper()
	found, err := b.Attempts(b.t.Context(), f)
	b.must(err)
	return found
}

func (b *storeHarness) waiting(party ulid.ULID) []Delivery {
	b.t.Helper()
	waiting, err := b.Waiting(b.t.Context(), party)
	b.must(err)
	return waiting
}

// delivery is what is stored of an account, zero when nothing is.
func (b *storeHarness) delivery(party, account ulid.ULID) Delivery {
	b.t.Helper()
	d, ok, err := b.Delivery(b.t.Context(), party, account)
	b.must(err)
	if ok != (d.Account == account) {
		b.t.Errorf("Delivery returns %v with %+v", ok, d)
	}
	return d
}

// position is a third party's, -1 when the store does not know it.
func (b *storeHarness) position(party ulid.ULID) int {
	b.t.Helper()
	position, ok, err := b.Position(b.t.Context(), party)
	b.must(err)
	if !ok {
		return -1
	}
	return int(position)
}

// file is every byte that the store has on disk.
func (b *storeHarness) file() []byte {
	b.t.Helper()
	var all []byte
	for _, name := range []string{b.config.Path, b.config.Path + "-wal"} {
		content, err := os.ReadFile(name)
		if !errors.Is(err, os.ErrNotExist) {
			b.must(err)
		}
		all = append(all, content...)
	}
	return all
}
