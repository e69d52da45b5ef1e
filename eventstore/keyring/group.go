package keyring

import "sync"

// group lets callers that wait for a commit share the next one: the first to
// find no batch leads a new one, waits its turn, and stores the rows of all who
// joined meanwhile.
type group struct {
	store func([]row) error // stores all rows or none, durably
	turn  chan struct{}     // holds a token while a batch is being stored

	mu      sync.Mutex
	waiting *batch // the batch that can be joined, or nil
}

// row is a wrapped key as the file keeps it.
type row struct {
	name    string
	wrapped []byte
}

// batch is the rows of one commit.
type batch struct {
	rows []row
	done chan struct{} // closed once err is set
	err  error
}

func newGroup(store func([]row) error) *group {
	return &group{store: store, turn: make(chan struct{}, 1)}
}

// add returns once r is stored. It cannot be given up: a leader stores the rows
// of others too.
func (g *group) add(r row) error {
	b, leads := g.join(r)
	if leads {
		g.turn <- struct{}{}
		g.leave()
		b.err = g.store(b.rows)
		close(b.done)
		<-g.turn
	}
	<-b.done
	return b.err
}

// join adds r to the waiting batch; leads tells that it is a new one.
func (g *group) join(r row) (b *batch, leads bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waiting == nil {
		g.waiting = &batch{done: make(chan struct{})}
		leads = true
	}
	g.waiting.rows = append(g.waiting.rows, r)
	return g.waiting, leads
}

// leave closes the waiting batch to others; its rows are its leader's alone.
func (g *group) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = nil
}
