package sqlite

import (
	"slices"
	"sync"

	"konto/eventstore"
)

// pending is an append that waits for its result. Its records are a copy, which the feed
// keeps once they are stored.
type pending struct {
	batch   eventstore.Batch
	last    uint64 // last and err are what Append returns
	err     error
	decided chan struct{} // closed when last and err are set
}

func newPending(b eventstore.Batch) *pending {
	b.Records = eventstore.CloneAll(b.Records)
	return &pending{batch: b, decided: make(chan struct{})}
}

// weight is the cost of the append in records. A receipt costs as much as a record, and an
// append without records costs as much as one.
func (p *pending) weight() int { return max(1, len(p.batch.Records)+len(p.batch.Receipts)) }

// queue passes appends to the writer in order. Its mutex decides whether the caller can still
// withdraw a batch or the writer has taken it.
type queue struct {
	mu      sync.Mutex
	filled  sync.Cond // signalled when waiting is not empty or closed is set
	waiting []*pending
	closed  bool
}

func newQueue() *queue {
	q := &queue{}
	q.filled.L = &q.mu
	return q
}

// push adds appends, without others in between. It returns ErrClosed after close.
func (q *queue) push(appends ...*pending) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return eventstore.ErrClosed
	}
	q.waiting = append(q.waiting, appends...)
	q.filled.Signal()
	return nil
}

// wait blocks until appends wait or the queue is closed.
func (q *queue) wait() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) == 0 && !q.closed {
		q.filled.Wait()
	}
}

// take blocks until appends wait, and removes the first of them that weigh up to limit
// together, but at least one. It returns nil if the queue is closed and empty.
func (q *queue) take(limit int) []*pending {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) == 0 {
		if q.closed {
			return nil
		}
		q.filled.Wait()
	}
	n, weight := 0, 0
	for n < len(q.waiting) {
		weight += q.waiting[n].weight()
		if n > 0 && weight > limit {
			break
		}
		n++
	}
	group := q.waiting[:n:n]
	q.waiting = q.waiting[n:]
	return group
}

// withdraw removes an append. It returns false if the writer has taken it.
func (q *queue) withdraw(p *pending) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.waiting, p)
	if i < 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, i, i+1)
	return true
}

// close refuses further appends. Those that wait are still taken.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.filled.Signal()
}
