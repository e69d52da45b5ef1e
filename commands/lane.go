package commands

import (
	"slices"
	"sync"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

// maxBatch bounds how many commands one append carries, so that the last
// one waits for a bounded amount of work.
const maxBatch = 64

// call is one command on its way to a verdict.
type call struct {
	meta     events.Metadata
	command  Command
	once     Once
	leads    chan struct{} // closed when this call's goroutine must lead its lane
	answered chan struct{} // closed when outcome and err are set
	outcome  Outcome
	err      error
}

func newCall(meta events.Metadata, c Command) *call {
	return &call{meta: meta, command: c, leads: make(chan struct{}), answered: make(chan struct{})}
}

// answer gives the verdict, once, from the goroutine that leads.
func (c *call) answer(outcome Outcome, err error) {
	c.outcome, c.err = outcome, err
	close(c.answered)
}

func (c *call) mustLead() bool   { return closed(c.leads) }
func (c *call) isAnswered() bool { return closed(c.answered) }

func closed(signal chan struct{}) bool {
	select {
	case <-signal:
		return true
	default:
		return false
	}
}

// lanes holds, for each account with commands under way, those that wait. A lane
// exists exactly while one of its callers leads: the others wait to be
// answered or to lead next. So commands on one account are decided one after
// the other, and no caller works for others longer than one batch.
type lanes struct {
	mu      sync.Mutex
	waiting map[ulid.ULID][]*call
}

// join queues a call; it leads at once if nobody does.
func (l *lanes) join(id ulid.ULID, c *call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting == nil {
		l.waiting = make(map[ulid.ULID][]*call)
	}
	queue, led := l.waiting[id]
	l.waiting[id] = append(queue, c)
	if !led {
		close(c.leads)
	}
}

// take hands the leader the calls that have waited longest, its own first.
func (l *lanes) take(id ulid.ULID) []*call {
	l.mu.Lock()
	defer l.mu.Unlock()
	queue := l.waiting[id]
	n := min(len(queue), maxBatch)
	// The rest is copied, so that the answered calls behind it can be freed.
	l.waiting[id] = slices.Clone(queue[n:])
	return queue[:n:n]
}

// pass ends a leader's turn: the first one waiting leads next.
func (l *lanes) pass(id ulid.ULID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.appoint(id)
}

// leave takes a call out of its queue, unless a leader has taken it already.
func (l *lanes) leave(id ulid.ULID, c *call) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := slices.Index(l.waiting[id], c)
	if at < 0 {
		return false
	}
	l.waiting[id] = slices.Delete(l.waiting[id], at, at+1)
	if c.mustLead() {
		l.appoint(id)
	}
	return true
}

// appoint makes the first one waiting lead, or ends the lane. It is called
// under mu by the call that led.
func (l *lanes) appoint(id ulid.ULID) {
	if queue := l.waiting[id]; len(queue) > 0 {
		close(queue[0].leads)
		return
	}
	delete(l.waiting, id)
}
