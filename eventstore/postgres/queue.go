package postgres

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"konto/eventstore"
)

// pending is an append that waits for its verdict.
type pending struct {
	batch   eventstore.Batch
	joined  bool // it belongs into the turn of the append before it
	doubted bool // it was committed once, or not: judge looks for it
	last    uint64
	err     error
	decided chan struct{} // closed once last and err are set
}

// weight is how many records an append costs about as much as.
func (p *pending) weight() int { return max(1, len(p.batch.Records)+len(p.batch.Receipts)) }

// refuse sets the verdict for an error that is final. An earlier turn may have stored an append that
// is doubted.
func (p *pending) refuse(err error) {
	if p.last, p.err = 0, failed("append to", err); p.doubted {
		p.err = fmt.Errorf("%w: %w", eventstore.ErrOutcomeUnknown, p.err)
	}
}

// queue hands appends to the writer in the order in which they came.
type queue struct {
	mu      sync.Mutex
	filled  chan struct{} // has an element if waiting may have one
	waiting []*pending
	taken   int // appends that were taken and not decided
	closed  bool
}

func newQueue() *queue { return &queue{filled: make(chan struct{}, 1)} }

// push adds appends that one turn takes together. It fails with ErrClosed.
func (q *queue) push(batches ...eventstore.Batch) ([]*pending, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, eventstore.ErrClosed
	}
	pushed := make([]*pending, len(batches))
	for i, b := range batches {
		pushed[i] = &pending{batch: b, joined: i > 0, decided: make(chan struct{})}
	}
	q.waiting = append(q.waiting, pushed...)
	q.signal()
	return pushed, nil
}

// again puts appends whose outcome is unknown in front of all others.
func (q *queue) again(doubted []*pending) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, p := range doubted {
		p.doubted = true
	}
	q.taken -= len(doubted)
	q.waiting = slices.Concat(doubted, q.waiting)
	q.signal()
}

// take removes the appends at the front that weigh up to limit together, at least one if there is
// one. What was pushed together is not split, and may weigh more.
func (q *queue) take(limit int) []*pending {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, weight := 0, 0
	for n < len(q.waiting) {
		weight += q.waiting[n].weight()
		if n > 0 && weight > limit && !q.waiting[n].joined {
			break
		}
		n++
	}
	group := slices.Clone(q.waiting[:n])
	q.taken += n
	q.waiting = slices.Delete(q.waiting, 0, n)
	if len(q.waiting) > 0 {
		q.signal()
	}
	return group
}

// decide answers appends that were taken. change, if not nil, replaces their verdicts.
func (q *queue) decide(group []*pending, change func(*pending)) {
	for _, p := range group {
		if change != nil {
			change(p)
		}
		close(p.decided)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.taken -= len(group)
	q.signal()
}

// busy reports whether an append waits, or was taken and is not decided.
func (q *queue) busy() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)+q.taken > 0
}

// wait waits until an append can be taken. It returns false if none will come any more, because
// the queue is closed and all are decided, or because ctx ended.
func (q *queue) wait(ctx context.Context) bool {
	for {
		q.mu.Lock()
		waiting, more := len(q.waiting) > 0, !q.closed || q.taken > 0
		q.mu.Unlock()
		if ctx.Err() != nil || !waiting && !more {
			return false
		}
		if waiting {
			return true
		}
		select {
		case <-q.filled:
		case <-ctx.Done():
		}
	}
}

// withdraw removes appends that were pushed together, if they were not taken, and reports whether
// it did.
func (q *queue) withdraw(pushed []*pending) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.waiting, pushed[0])
	if i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+len(pushed))
	}
	return i >= 0
}

// close refuses further appends; what waits is still taken.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.signal()
}

func (q *queue) signal() {
	select {
	case q.filled <- struct{}{}:
	default:
	}
}
