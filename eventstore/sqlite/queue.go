package sqlite

import (
	"slices"
	"sync"

	"konto/eventstore"
)

// pending is an append that waits for its verdict.
type pending struct {
	batch   eventstore.Batch
	verdict verdict
	decided chan struct{} // closed once verdict is set
}

// weight is how many records an append costs about as much as: one without any
// costs as much as one, too, and so does each receipt.
func (p *pending) weight() int { return max(1, len(p.batch.Records)+len(p.batch.Receipts)) }

// stored tells who wants to know of records that are durable.
func (p *pending) stored() {
	if p.batch.Stored != nil && p.verdict.err == nil && len(p.batch.Records) > 0 {
		p.batch.Stored(p.verdict.last)
	}
}

// verdict is what Append returns.
type verdict struct {
	last uint64
	err  error
}

// queue hands appends to the writer in the order in which they came. One mutex
// decides whether a batch is still the caller's to withdraw or already the writer's.
type queue struct {
	mu      sync.Mutex
	filled  sync.Cond // waiting is not empty, or closed
	waiting []*pending
	closed  bool
}

func newQueue() *queue {
	q := &queue{}
	q.filled.L = &q.mu
	return q
}

// push adds an append. It fails with ErrClosed.
func (q *queue) push(b eventstore.Batch) (*pending, error) {
	pushed, err := q.pushAll([]eventstore.Batch{b})
	if err != nil {
		return nil, err
	}
	return pushed[0], nil
}

// pushAll adds appends, with none of others' in between.
func (q *queue) pushAll(batches []eventstore.Batch) ([]*pending, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, eventstore.ErrClosed
	}
	begin := len(q.waiting)
	for _, b := range batches {
		q.waiting = append(q.waiting, &pending{batch: b, decided: make(chan struct{})})
	}
	q.filled.Signal()
	return slices.Clone(q.waiting[begin:]), nil
}

// wait blocks until appends wait or the queue is closed.
func (q *queue) wait() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) == 0 && !q.closed {
		q.filled.Wait()
	}
}

// take blocks until appends wait and removes those at the front that hold up
// to limit records together, at least one append. It returns nil when the queue
// is closed and empty.
func (q *queue) take(limit int) []*pending {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) == 0 {
		if q.closed {
			return nil
		}
		q.filled.Wait()
	}
	n, records := 0, 0
	for n < len(q.waiting) {
		records += q.waiting[n].weight()
		if n > 0 && records > limit {
			break
		}
		n++
	}
	group := q.waiting[:n:n]
	q.waiting = q.waiting[n:]
	return group
}

// withdraw removes an append that was not taken, and tells whether it did.
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

// close refuses further appends; what waits is still taken.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.filled.Signal()
}
