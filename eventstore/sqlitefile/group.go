package sqlitefile

import "sync"

// Group lets callers that wait for a commit share the next one, so that many callers need one
// sync. The first caller that finds no open batch leads a new one. It waits for its turn and
// stores the items of all callers that joined meanwhile.
type Group[T any] struct {
	store func([]T) error // stores all or none, durably
	turn  chan struct{}   // is full while a batch is being stored

	mu   sync.Mutex
	open *batch[T] // the batch that callers can join, or nil
}

// batch holds the items of one commit.
type batch[T any] struct {
	items []T
	done  chan struct{} // closed when err is set
	err   error
}

// NewGroup returns a group that passes one batch at a time to store, in order. store stores all
// of a batch or nothing.
func NewGroup[T any](store func([]T) error) *Group[T] {
	return &Group[T]{store: store, turn: make(chan struct{}, 1)}
}

// Add returns when item is stored, or with the error of its batch. It has no context, because a
// leader also stores the items of others.
func (g *Group[T]) Add(item T) error {
	b, leads := g.join(item)
	if leads {
		g.turn <- struct{}{}
		g.closeBatch()
		b.err = g.store(b.items)
		close(b.done)
		<-g.turn
	}
	<-b.done
	return b.err
}

// join adds an item to the open batch. leads means that the batch is new.
func (g *Group[T]) join(item T) (b *batch[T], leads bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open == nil {
		g.open = &batch[T]{done: make(chan struct{})}
		leads = true
	}
	g.open.items = append(g.open.items, item)
	return g.open, leads
}

// closeBatch closes the open batch, so that its leader can use the items.
func (g *Group[T]) closeBatch() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = nil
}
