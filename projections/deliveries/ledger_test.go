package deliveries

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/memory"
	"konto/eventstore/sqlitefile"
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

func TestWhatWasSettledIsThereAfterReopening(t *testing.T) {
	b := newBook(t)
	party := ulid.Make()
	e, late := b.happen(), b.happen()
	done := b.settlement(party, e, OutcomeDelivered, "thanks")
	trouble := b.settlement(party, late, OutcomeRetrying, "busy")
	trouble.Lane.Behind = true
	b.settle(done)
	b.settle(trouble)
	b.must(b.SetPosition(t.Context(), party, late.Position))
	b.reopen()

	done.Lane.Delivered, done.Lane.DeliveredAt = e.Position, b.now.Add(time.Millisecond)
	for want, got := range map[*Lane]Lane{&done.Lane: b.lane(party, account(e)), &trouble.Lane: b.lane(party, account(late))} {
		if got != *want {
			t.Errorf("lane %+v\nwant %+v", got, *want)
		}
	}
	if got := b.waiting(party); !slices.Equal(got, []Lane{trouble.Lane}) {
		t.Errorf("waiting are %+v", got)
	}
	if got, want := b.attempts(Filter{}), []Attempt{done.Attempt, trouble.Attempt}; !slices.Equal(got, want) {
		t.Errorf("attempts %+v\nwant     %+v", got, want)
	}
	if got := b.position(party); got != int(late.Position) {
		t.Errorf("position %d", got)
	}
	if got := b.position(ulid.Make()); got != -1 {
		t.Errorf("a third party that was never heard of is at %d", got)
	}
}

// What a method acknowledged is in the files, whatever becomes of the process.
func TestWhatWasSettledSurvivesACrash(t *testing.T) {
	b := newBook(t)
	party, e := ulid.Make(), b.happen()
	b.settle(b.settlement(party, e, OutcomeDelivered, ""))
	b.must(b.SetPosition(t.Context(), party, e.Position))

	crashed := filepath.Join(t.TempDir(), "deliveries.db")
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(b.config.Path + suffix)
		b.must(err)
		b.must(os.WriteFile(crashed+suffix, content, 0o600))
	}
	config := b.config
	config.Path = crashed
	after, err := OpenLedger(t.Context(), config)
	b.must(err)
	defer after.Close()
	if position, ok, err := after.Position(t.Context(), party); position != e.Position || !ok || err != nil {
		t.Errorf("position %d %v %v", position, ok, err)
	}
	if lane, ok, err := after.LaneOf(t.Context(), party, account(e)); lane.Version != e.Version || !ok || err != nil {
		t.Errorf("lane %+v %v %v", lane, ok, err)
	}
}

func TestLanesWaitUntilTheyHaveCaughtUp(t *testing.T) {
	b := newBook(t)
	party, e := ulid.Make(), b.happen()
	s := b.settlement(party, e, OutcomeRetrying, "")
	for _, step := range []struct {
		name     string
		attempts int
		behind   bool
	}{
		{"failed once", 1, false}, {"more happened", 1, true}, {"the first of them was delivered", 0, true}, {"so was the rest", 0, false},
	} {
		s.Lane.Attempts, s.Lane.Behind = step.attempts, step.behind
		b.settle(Settlement{Party: party, Lane: s.Lane})
		if got, want := len(b.waiting(party)) == 1, step.attempts > 0 || step.behind; got != want {
			t.Errorf("%s: waits: %v", step.name, got)
		}
		if len(b.waiting(ulid.Make())) != 0 {
			t.Errorf("%s: it waits for another third party", step.name)
		}
	}
	if got := b.attempts(Filter{}); len(got) != 0 {
		t.Errorf("without an attempt the delivery log has %+v", got)
	}
}

func TestRedeliveryLeavesTheLaneWhereItIs(t *testing.T) {
	b := newBook(t)
	party, first := ulid.Make(), b.happen()
	second := first
	second.ID, second.Version, second.Position = ulid.Make(), 2, first.Position+5
	b.settle(b.settlement(party, first, OutcomeFailed, ""))
	if lane := b.lane(party, account(first)); lane.Delivered != 0 || lane.Position != first.Position {
		t.Errorf("after a failure %+v", lane)
	}
	b.settle(b.settlement(party, second, OutcomeSkipped, "")) // nothing to tell is as good as told
	before := b.lane(party, account(first))
	again := b.settlement(party, first, OutcomeDelivered, "")
	b.settle(Settlement{Party: party, Attempt: again.Attempt})
	if after := b.lane(party, account(first)); after != before || after.Delivered != second.Position {
		t.Errorf("%+v became %+v", before, after)
	}
	if got := b.attempts(Filter{}); len(got) != 3 {
		t.Errorf("%d attempts", len(got))
	}
}

func TestManySettlementsAtOnceAreAllStored(t *testing.T) {
	b := newBook(t)
	const parties, each = 8, 50
	happened := make([]events.Event, each)
	for i := range happened {
		happened[i] = b.happen()
	}
	var all sync.WaitGroup
	ids := make([]ulid.ULID, parties)
	for i := range ids {
		ids[i] = ulid.Make()
		for _, e := range happened {
			all.Go(func() {
				if err := b.Settle(t.Context(), b.settlement(ids[i], e, OutcomeDelivered, "ok")); err != nil {
					t.Error(err)
				}
				if lane, ok, err := b.LaneOf(t.Context(), ids[i], account(e)); !ok || lane.Version != 1 || err != nil {
					t.Errorf("settled, but %+v %v %v", lane, ok, err)
				}
			})
		}
		all.Go(func() {
			if err := b.SetPosition(t.Context(), ids[i], each); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	b.reopen()
	for _, party := range ids {
		if got := b.attempts(Filter{Party: party, Limit: 2 * each}); len(got) != each {
			t.Errorf("%d attempts, %d were settled", len(got), each)
		}
		if got := b.position(party); got != each {
			t.Errorf("position %d", got)
		}
	}
}

func TestLedgerOfAnotherHistoryIsEmptied(t *testing.T) {
	told := map[string]func(b *book, party ulid.ULID, e events.Event){
		"by an attempt": func(b *book, party ulid.ULID, e events.Event) {
			b.settle(Settlement{Party: party, Attempt: b.settlement(party, e, OutcomeDelivered, "").Attempt})
		},
		"by a lane": func(b *book, party ulid.ULID, e events.Event) {
			b.settle(Settlement{Party: party, Lane: b.settlement(party, e, OutcomeDelivered, "").Lane})
		},
		"by a position": func(b *book, party ulid.ULID, e events.Event) {
			b.must(b.SetPosition(b.t.Context(), party, e.Position))
		},
		"and rewound": func(b *book, party ulid.ULID, e events.Event) {
			b.must(b.SetPosition(b.t.Context(), party, e.Position))
			b.settle(b.settlement(party, e, OutcomeDelivered, ""))
			b.must(b.Rewind(b.t.Context(), party, 1))
		},
	}
	for name, tell := range told {
		for other, grows := range map[string]int{"longer": 9, "as long": 3, "shorter": 1, "empty": 0} {
			t.Run(name+", "+other, func(t *testing.T) {
				b := newBook(t)
				party := ulid.Make()
				b.happen()
				b.happen()
				e := b.happen()
				tell(b, party, e)
				b.reopen()
				if b.position(party) == -1 && len(b.attempts(Filter{})) == 0 && b.lane(party, account(e)) == (Lane{}) {
					t.Fatal("the ledger of this history was emptied")
				}
				b.log = memory.New()
				b.config.Log = b.log
				for range grows {
					b.happen()
				}
				b.reopen()
				if b.position(party) != -1 || len(b.attempts(Filter{})) != 0 || b.lane(party, account(e)) != (Lane{}) {
					t.Error("what was told of another history is still there")
				}
			})
		}
	}
}

func TestLedgerOfAnotherKeyringIsEmptied(t *testing.T) {
	b := newBook(t)
	party := ulid.Make()
	b.must(b.SetPosition(t.Context(), party, b.happen().Position))
	b.config.Keys = b.openKeys("other.db")
	b.reopen()
	if got := b.position(party); got != -1 {
		t.Errorf("position %d", got)
	}
}

func TestFilesThatAreNoLedgerAreLeftAlone(t *testing.T) {
	for name, c := range map[string]struct {
		make func(b *book)
		says string
	}{
		"malformed": {func(b *book) {
			b.must(os.WriteFile(b.config.Path, []byte(strings.Repeat("no database ", 1000)), 0o600))
		}, "delete the file: deliveries go on from the last checkpoints"},
		"another program's": {func(b *book) {
			db, err := sqlitefile.OpenWriter(b.config.Path)
			b.must(err)
			_, err = db.Exec("CREATE TABLE theirs (a)")
			b.must(err)
			b.must(db.Close())
		}, "another program's"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBook(t)
			b.must(b.Close())
			b.must(os.Remove(b.config.Path))
			c.make(b)
			before := b.file()
			_, err := OpenLedger(t.Context(), b.config)
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), b.config.Path) {
				t.Errorf("%v", err)
			}
			if !bytes.Equal(before, b.file()) {
				t.Error("the file was changed")
			}
		})
	}
}

func TestSettlementsAreNotLostBecauseSomebodyLeft(t *testing.T) {
	b := newBook(t)
	ctx, cancel := contextThatEnded(t)
	defer cancel()
	party, e := ulid.Make(), b.happen()
	b.must(b.Settle(ctx, b.settlement(party, e, OutcomeDelivered, "thanks")))
	b.must(b.SetPosition(ctx, party, e.Position))
	if b.lane(party, account(e)).Version != 1 || b.position(party) != 1 {
		t.Error("nothing was stored")
	}
}

func TestLedgerNeedsItsPlaceLogAndKeys(t *testing.T) {
	b := newBook(t)
	for name, spoil := range map[string]func(*LedgerConfig){
		"path":     func(c *LedgerConfig) { c.Path = "" },
		"log":      func(c *LedgerConfig) { c.Log = nil },
		"keys":     func(c *LedgerConfig) { c.Keys = nil },
		"attempts": func(c *LedgerConfig) { c.MaxAttempts = -1 },
		"age":      func(c *LedgerConfig) { c.MaxAge = -1 },
	} {
		config := b.config
		spoil(&config)
		if _, err := OpenLedger(t.Context(), config); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

func TestErrorsNameTheFileAndNothingOfAnAnswer(t *testing.T) {
	b := newBook(t)
	s := b.settlement(ulid.Make(), b.happen(), OutcomeDelivered, "canary")
	b.must(b.Close())
	err := b.Settle(t.Context(), s)
	if err == nil || !strings.Contains(err.Error(), b.config.Path) || strings.Contains(fmt.Sprint(err), "canary") {
		t.Errorf("%v", err)
	}
}
