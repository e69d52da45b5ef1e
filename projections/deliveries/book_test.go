package deliveries

import (
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

// book is a ledger beside a log and a real keyring, in a world whose clock a
// test turns.
type book struct {
	t      testing.TB
	dir    string
	keys   eventstore.Keys
	log    *memory.Log
	config LedgerConfig
	now    time.Time
	*Ledger
}

func newBook(t testing.TB, bounds ...LedgerConfig) *book {
	b := &book{t: t, dir: t.TempDir(), log: memory.New(), now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	b.keys = b.openKeys("keys.db")
	for _, config := range bounds {
		b.config = config
	}
	b.config.Path, b.config.Log, b.config.Keys = filepath.Join(b.dir, "deliveries.db"), b.log, b.keys
	b.config.Now = func() time.Time { return b.now }
	b.open()
	t.Cleanup(func() { b.Close() })
	return b
}

func (b *book) openKeys(name string) eventstore.Keys {
	b.t.Helper()
	master := sha256.Sum256([]byte(b.t.Name()))
	keys, err := keyring.Open(b.t.Context(), filepath.Join(b.dir, name), master[:])
	b.must(err)
	b.t.Cleanup(func() { keys.Close() })
	return keys
}

func (b *book) open() {
	b.t.Helper()
	opened, err := OpenLedger(b.t.Context(), b.config)
	b.must(err)
	b.Ledger = opened
}

func (b *book) reopen() {
	b.t.Helper()
	b.must(b.Close())
	b.open()
}

func (b *book) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// happen opens an account and returns its event.
func (b *book) happen() events.Event {
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

// settlement is what an attempt at e came to; its lane is e's account's.
func (b *book) settlement(party ulid.ULID, e events.Event, outcome, excerpt string) Settlement {
	lane := Lane{Account: account(e), Version: e.Version, Position: e.Position, Settled: b.now}
	if outcome == OutcomeRetrying {
		lane = Lane{Account: account(e), Attempts: 1, Since: b.now, Next: b.now.Add(5 * time.Second)}
	}
	return Settlement{Party: party, Lane: lane, Attempt: Attempt{
		Party: party, Account: account(e), Event: e.ID, Type: e.Type, Position: e.Position, Number: 1,
		At: b.now, Outcome: outcome, Status: 200, Latency: 1500 * time.Microsecond, Excerpt: excerpt,
	}}
}

func (b *book) settle(s Settlement) {
	b.t.Helper()
	b.must(b.Settle(b.t.Context(), s))
}

func (b *book) attempts(f Filter) []Attempt {
	b.t.Helper()
	found, err := b.Attempts(b.t.Context(), f)
	b.must(err)
	return found
}

func (b *book) waiting(party ulid.ULID) []Lane {
	b.t.Helper()
	lanes, err := b.Waiting(b.t.Context(), party)
	b.must(err)
	return lanes
}

// lane is what the ledger knows of an account, nothing being the zero lane.
func (b *book) lane(party, account ulid.ULID) Lane {
	b.t.Helper()
	lane, ok, err := b.LaneOf(b.t.Context(), party, account)
	b.must(err)
	if ok != (lane.Account == account) {
		b.t.Errorf("LaneOf says %v with %+v", ok, lane)
	}
	return lane
}

// position is a third party's, -1 when the ledger does not know it.
func (b *book) position(party ulid.ULID) int {
	b.t.Helper()
	position, ok, err := b.Position(b.t.Context(), party)
	b.must(err)
	if !ok {
		return -1
	}
	return int(position)
}

// file is every byte that the ledger keeps on disk.
func (b *book) file() []byte {
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
