package sqlitefile

import "sync"

// Group lets callers that wait for a commit share the next one, so that many
// callers cost one sync: the first to find no batch leads a new one, waits its
// turn, and stores what all who joined meanwhile brought.
type Group[T any] struct {
	store func([]T) error // stores all or none, durably
	turn  chan struct{}   // holds a token while a batch is being stored

	mu      sync.Mutex
	waiting *batch[T] // the batch that can be joined, or nil
}

// batch is what goes into one commit.
type batch[T any] struct {
	items []T
	done  chan struct{} // closed once err is set
	err   error
}

// NewGroup makes a group whose batches go to store, one at a time, in the order
// in which they were brought. store keeps all of a batch or nothing.
func NewGroup[T any](store func([]T) error) *Group[T] {
	return &Group[T]{store: store, turn: make(chan struct{}, 1)}
}

// Add returns once item is stored, or with the error of the batch that it went
// into. It cannot be given up: a leader stores the items of others too.
func (g *Group[T]) Add(item T) error {
	b, leads := g.join(item)
	if leads {
		g.turn <- struct{}{}
		g.leave()
		b.err = g.store(b.items)
		close(b.done)
		<-g.turn
	}
	<-b.done
	return b.err
}

// join adds an item to the waiting batch; leads tells that it is a new one.
func (g *Group[T]) join(item T) (b *batch[T], leads bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waiting == nil {
		g.waiting = &batch[T]{done: make(chan struct{})}
		leads = true
	}
	g.waiting.items = append(g.waiting.items, item)
	return g.waiting, leads
}

// leave closes the waiting batch to others; its items are its leader's alone.
func (g *Group[T]) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = nil
}
