package projections

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
)

// countedLog counts the records that are read of streams.
type countedLog struct {
	eventstore.Log
	mu   sync.Mutex
	read int
}

func (l *countedLog) ReadStream(ctx context.Context, stream events.Stream, after uint64, limit int) ([]eventstore.Record, error) {
	records, err := l.Log.ReadStream(ctx, stream, after, limit)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.read += len(records)
	return records, err
}

// renamed is an account whose nth event, for n above 1, gives it the name n.
func (h *fixture) renamed(versions uint64) ulid.ULID {
	h.t.Helper()
	id := h.openAccount("anna@example.com")
	for v := uint64(1); v < versions; v++ {
		h.append(events.AccountStream(id), v, named(fmt.Sprint(v+1)))
	}
	return id
}

func newPast(t *testing.T) (*fixture, *countedLog, *Past) {
	h := newFixture(t)
	log := &countedLog{Log: h.log}
	return h, log, NewPast(eventstore.NewStore(log, h.keys))
}

// expectPast asks for a version and tells how many events it cost.
func expectPast(t *testing.T, p *Past, log *countedLog, id ulid.ULID, version uint64) (cost int) {
	t.Helper()
	before := log.read
	a, err := p.AccountAt(t.Context(), id, version)
	if err != nil || a.ID != id || a.Version != version || a.Profile.FirstName != fmt.Sprint(version) {
		t.Fatalf("version %d is %+v, %v", version, a, err)
	}
	return log.read - before
}

const foldPage = 500 // how many events a fold reads at a time

func TestPastReturnsAccountsAsTheyWere(t *testing.T) {
	h, log, p := newPast(t)
	id := h.renamed(2*foldPage + 3)
	for _, test := range []struct {
		version uint64
		cost    int
	}{
		{foldPage + 7, foldPage + 7},         // more than a page
		{foldPage + 8, 1}, {foldPage + 9, 1}, // one event each
		{foldPage + 9, 0},                                      // again
		{3, 3},                                                 // long before: from the start
		{4, 1}, {foldPage + 10, 1}, {5, 1}, {foldPage + 11, 1}, // two third parties in turn
		{2*foldPage + 3, foldPage - 8},
	} {
		if cost := expectPast(t, p, log, id, test.version); cost != test.cost {
			t.Errorf("version %d cost %d events, want %d", test.version, cost, test.cost)
		}
	}
}

// Its key may still be there, because another node destroys it.
func TestEvictedAccountIsNotCachedAgain(t *testing.T) {
	h, log, p := newPast(t)
	id := h.renamed(5)
	expectPast(t, p, log, id, 5)
	p.Evict(id)
	for range 2 {
		if cost := expectPast(t, p, log, id, 5); cost != 5 {
			t.Errorf("version 5 cost %d events", cost)
		}
	}
}

func TestPastMayBeReadConcurrently(t *testing.T) {
	h := newFixture(t)
	p := NewPast(h.store)
	ids := []ulid.ULID{h.renamed(30), h.renamed(30)}
	var askers sync.WaitGroup
	for i := range 8 {
		askers.Go(func() {
			for v := uint64(2); v <= 30; v++ {
				a, err := p.AccountAt(t.Context(), ids[i%2], v)
				if err != nil || a.Profile.FirstName != fmt.Sprint(v) {
					t.Errorf("version %d is %q, %v", v, a.Profile.FirstName, err)
				}
			}
		})
	}
	askers.Wait()
}

func TestPastOfAnUnknownAccountIsAnError(t *testing.T) {
	h, _, p := newPast(t)
	id := h.renamed(2)
	for version, want := range map[uint64]error{0: ErrNoAccount, 3: ErrOutOfStep} {
		if _, err := p.AccountAt(t.Context(), id, version); !errors.Is(err, want) {
			t.Errorf("version %d: %v", version, err)
		}
	}
	unknown := ulid.Make()
	h.poison(events.AccountStream(unknown), 0, events.TypeAccountErased, `{}`)
	other := newFixture(t) // its keys are others
	p = NewPast(eventstore.NewStore(h.log, other.keys))
	if _, err := p.AccountAt(t.Context(), id, 1); !errors.Is(err, eventstore.ErrNoKey) {
		t.Errorf("without its key: %v", err)
	}
	if a, err := p.AccountAt(t.Context(), unknown, 1); err != nil || !a.Erased {
		t.Errorf("an erased account: %+v, %v", a, err)
	}
}
