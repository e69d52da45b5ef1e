package nats

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/memory"
)

// late is a log whose feed begins when somebody waits for it, as on a node that is behind the
// others.
type late struct {
	eventstore.Log
	there atomic.Bool
}

func (l *late) ReadAll(ctx context.Context, after uint64, limit int) ([]eventstore.Record, error) {
	if !l.there.Load() {
		return nil, nil
	}
	return l.Log.ReadAll(ctx, after, limit)
}

func (l *late) Wait(ctx context.Context, after uint64) error {
	l.there.Store(true)
	return l.Log.Wait(ctx, after)
}

func TestNodeWhoseFeedIsLatePublishesNothingAgain(t *testing.T) {
	r := newFixture(t)
	log := &late{Log: memory.New()}
	log.there.Store(true)
	keys, err := keyring.Open(t.Context(), t.TempDir()+"/keys.db", make([]byte, 32))
	must(t, err)
	t.Cleanup(func() { keys.Close() })
	r.store = eventstore.NewStore(log, keys)
	r.start()
	r.account(20)
	r.follow(r.publisher())

	log.there.Store(false)
	if at := r.open(r.publisher()); at != 20 {
		t.Errorf("the next node continues after %d", at)
	}
	r.holds(r.published(0))
}

var errDeposed = errors.New("another node publishes")

// deposable are one node's cursors. All nodes have the same values.
type deposable struct {
	*cursors
	deposed bool
}

func (d *deposable) SetCursor(ctx context.Context, name string, value []byte) error {
	if d.deposed {
		return errDeposed
	}
	return d.cursors.SetCursor(ctx, name, value)
}

func (d *deposable) held(context.Context) error {
	if d.deposed {
		return errDeposed
	}
	return nil
}

// node is the publisher of another node.
func (r *fixture) node() (*Publisher, *deposable) {
	d := &deposable{cursors: r.cursors}
	return NewPublisher(PublisherConfig{Conn: r.conn, Cursors: d, Held: d.held, Store: r.store, Log: quiet}), d
}

func TestDeposedPublisherDeletesNothing(t *testing.T) {
	r := newFixture(t)
	r.start()
	gone := r.account(10)
	p, node := r.node()
	r.follow(p)
	all := r.published(0)
	want := r.erase(gone)
	all = append(all, want...)

	node.deposed = true
	batch, err := r.store.ReadAll(t.Context(), 10, 10)
	must(t, err)
	if err := p.Apply(t.Context(), batch); !errors.Is(err, errDeposed) {
		t.Errorf("Apply returned %v", err)
	}
	r.holds(all)
	if err := p.Open(t.Context()); !errors.Is(err, errDeposed) {
		t.Errorf("Open returned %v", err)
	}
	r.holds(all)

	next, _ := r.node()
	r.open(next)
	r.holds(want)
}

func TestTwoPublishersStoreEachEventOnce(t *testing.T) {
	r := newFixture(t)
	r.start()
	r.account(30)
	first, _ := r.node()
	r.follow(first)
	r.account(30)
	second, _ := r.node()
	r.follow(second)
	r.account(30)
	for _, p := range []*Publisher{first, second, first} { // neither knows of the other's messages
		batch, err := r.store.ReadAll(t.Context(), 60, 100)
		must(t, err)
		must(t, p.Apply(t.Context(), batch))
		r.account(30)
	}
	r.feed(second, 60)
	r.holds(r.published(0))
}

// A cursor that a node did not save before it was deposed is worth nothing in its next term.
func TestCursorOfAnEarlierTermIsNotSaved(t *testing.T) {
	r := newFixture(t)
	r.start()
	r.account(20)
	p, node := r.node()
	r.open(p)
	node.deposed = true
	r.account(1)
	p.savedAt = time.Now() // the next save is due in a second
	r.feed(p, 0)
	if err := p.Rest(t.Context()); !errors.Is(err, errDeposed) {
		t.Fatalf("Rest returned %v", err)
	}
	r.account(20)
	other, _ := r.node()
	r.follow(other)
	must(t, other.Rest(t.Context()))
	want := r.saved()

	node.deposed = false
	ended, end := context.WithCancel(t.Context())
	end()
	if err := p.Open(ended); !errors.Is(err, context.Canceled) {
		t.Fatalf("Open returned %v", err)
	}
	must(t, p.Rest(t.Context()))
	if got := r.saved(); got != want {
		t.Errorf("the cursor is %+v, want %+v", got, want)
	}
}
