package commands

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
)

// This file is the commit protocol: what happens between the call of Do and its
// return. Each step says what a crash of the process does there. A caller that got
// no answer sends its request again. With an idempotency key (Once) the second
// request returns what the first one did, if the first one was stored.

const (
	// maxBatch is how many commands one append carries, so that the last one waits
	// for a bounded amount of work.
	maxBatch = 64
	// commitTimeout is how long one batch may take.
	commitTimeout = 10 * time.Second
	// maxAttempts is how often a batch is decided again because another node appended
	// first. The number is high because a long batch loses most races against a node
	// with short ones (ten attempts were too few in TestNodesOnOneLogLoseNothing), and
	// a lost race costs little.
	maxAttempts = 100
)

// errAbandoned is the error of the waiting callers when their leader panicked.
var errAbandoned = errors.New("command was abandoned; it may or may not have been stored")

// Do runs a command on one account. It returns when the command's events are durable.
//
// If the error is *Invalid, ErrNotFound, ErrAdministratorEmail, *VersionMismatch,
// *Taken, ErrBusy or one that the command's comment names, nothing was stored, unless
// that comment says otherwise. The same holds for ctx's own error, which Do returns
// unchanged when ctx ends while the command waits for others. After any other error,
// such as eventstore.ErrOutcomeUnknown, the command may have been stored: the caller
// reads the account to find out.
func (h *Accounts) Do(ctx context.Context, id ulid.ULID, meta events.Metadata, c Command) (Outcome, error) {
	return h.DoOnce(ctx, id, meta, Once{}, c)
}

// DoOnce is Do for a request that may be sent more than once. A repeated request gets
// the outcome of the first one, even if the first caller never saw it. If requests with
// one key arrive at the same time, one of them runs and the others wait for its outcome.
// The outcome can name another account than id: when an Open is repeated with a new id,
// it is the account that the first request opened. The additional error is ErrReused.
func (h *Accounts) DoOnce(ctx context.Context, id ulid.ULID, meta events.Metadata, once Once, c Command) (Outcome, error) {
	// Step 1: do what is slow or not pure. Crash: nothing was stored.
	if p, ok := c.(preparer); ok {
		var err error
		if c, err = p.prepare(ctx, h, caller{id, meta.Actor.ID}); err != nil {
			return Outcome{}, err
		}
	}
	// Step 2: wait for an answer, or for the turn to lead. Crash: nothing was stored.
	mine := &call{meta: meta, command: c, once: once, done: make(chan struct{})}
	q := h.queues.join(id, mine)
	defer h.queues.leave(id, q)
	leads := false
	select {
	case <-mine.done:
	case q.turn <- struct{}{}:
		leads = true
		defer func() { <-q.turn }()
	case <-ctx.Done():
	}
	// A command that a leader took runs to its end, even if its caller is gone:
	// commands of other callers were decided on top of it.
	if ctx.Err() != nil && h.queues.withdraw(q, mine) {
		return Outcome{}, ctx.Err()
	}
	if leads {
		h.lead(ctx, id, h.queues.take(q, mine))
	}
	<-mine.done
	return mine.outcome, mine.err
}

// call is one command in a queue or a batch.
type call struct {
	meta    events.Metadata
	command Command
	once    Once

	// The leader sets these at each attempt. The caller reads them when done is closed.
	outcome  Outcome
	err      error
	answered bool
	done     chan struct{}
}

// answer returns the outcome to the caller.
func (c *call) answer() {
	c.answered = true
	close(c.done)
}

// queue holds the commands on one account that no leader has taken yet. Its callers
// lead one after the other, each for one batch. So commands on one account are decided
// in sequence, and no caller works for others longer than one batch.
type queue struct {
	turn    chan struct{} // full while a caller leads; callers are served in order
	callers int           // that joined and did not leave
	waiting []*call       // the longest waiting one first
}

// queues has a queue for each account that a command is being run on.
type queues struct {
	mu sync.Mutex
	of map[ulid.ULID]*queue
}

// join adds a call to its account's queue.
func (qs *queues) join(id ulid.ULID, c *call) *queue {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	q := qs.of[id]
	if q == nil {
		if qs.of == nil {
			qs.of = make(map[ulid.ULID]*queue)
		}
		q = &queue{turn: make(chan struct{}, 1)}
		qs.of[id] = q
	}
	q.callers++
	q.waiting = append(q.waiting, c)
	return q
}

// leave ends a caller's use of a queue. The last caller deletes it.
func (qs *queues) leave(id ulid.ULID, q *queue) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	if q.callers--; q.callers == 0 {
		delete(qs.of, id)
	}
}

// take returns the next batch to the caller that leads. Its own call is part of it. The
// batch is empty if another leader has answered that call already.
func (qs *queues) take(q *queue, own *call) []*call {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	at := slices.Index(q.waiting, own)
	if at < 0 {
		return nil
	}
	// Callers that join at the same moment can get the turn in another order than
	// they stand in the queue.
	n := max(min(len(q.waiting), maxBatch), at+1)
	batch := q.waiting[:n:n]
	// The rest is copied, so that answered calls can be freed.
	q.waiting = slices.Clone(q.waiting[n:])
	return batch
}

// withdraw removes a call from its queue. It returns false if a leader took the call.
func (qs *queues) withdraw(q *queue, c *call) bool {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	at := slices.Index(q.waiting, c)
	if at < 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, at, at+1)
	return true
}

// lead is step 3: run a batch and answer each of its calls. Crash: none of its callers
// gets an answer, and either all of the batch is in the log or nothing.
func (h *Accounts) lead(ctx context.Context, id ulid.ULID, calls []*call) {
	defer func() { // after a panic the other callers must not wait for ever
		for _, c := range calls {
			if !c.answered {
				h.evict(id)
				c.outcome, c.err = Outcome{}, errAbandoned
				c.answer()
			}
		}
	}()
	// The batch has commands of other callers, so the end of this caller's context
	// does not cancel it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	h.commit(ctx, id, calls)
}

// commit runs the calls in one append. If one of them needs a value that another account
// holds, it runs each alone, so that only that one fails.
func (h *Accounts) commit(ctx context.Context, id ulid.ULID, calls []*call) {
	err := h.decideAndAppend(ctx, id, calls)
	if len(calls) > 1 && errors.Is(err, ErrTaken) {
		for i := range calls {
			h.commit(ctx, id, calls[i:i+1])
		}
		return
	}
	for _, c := range calls {
		if err != nil {
			c.outcome, c.err = Outcome{}, err
		}
		c.answer()
	}
}

// decideAndAppend decides the calls and appends what they come to, until the log accepts
// it. If it returns nil, each call has its outcome. An error is the error of all calls.
//
// A cached state may be stale. An append proves that it was not, because the log compares
// versions. If there is nothing to append (no change, or a refusal), nothing proves it, so
// the state is compared with the log before anything is answered from it.
func (h *Accounts) decideAndAppend(ctx context.Context, id ulid.ULID, calls []*call) error {
	state, fresh, err := h.recall(ctx, id)
	if err != nil {
		return err
	}
	for range maxAttempts {
		// Step 4: decide. Crash: nothing was stored.
		b, err := h.decideBatch(ctx, id, state, calls)
		if err != nil {
			return err
		}
		// Step 5: append events, claims and receipts in one transaction. Crash: the
		// log stored all of them or none. No caller was answered, because even a
		// refusal may depend on another command of the batch.
		last, err := b.append(ctx, h.store)
		var taken *eventstore.Taken
		switch {
		case err == nil && (fresh || !b.isEmpty()):
			// Step 6: answer. Crash: the batch is in the log, and a caller without an
			// answer repeats its request. The cache is lost with the process; the
			// followers read the events from the log.
			b.setPositions(last)
			h.remember(b.state)
			return nil
		case errors.As(err, &taken) && (fresh || len(calls) > 1):
			refusal := &Taken{Field: claimField(taken.Kind)}
			if len(calls) == 1 && calls[0].leaveOut(refusal.Field) {
				continue
			}
			return refusal
		case err == nil, taken != nil, errors.Is(err, eventstore.ErrConflict), errors.Is(err, eventstore.ErrRepeated):
			if state, err = h.refresh(ctx, id, state); err != nil {
				return err
			}
			fresh = true
		case errors.Is(err, eventstore.ErrDestroyed) && state.Exists():
			// The state was cached before the account's key was destroyed.
			if state, err = h.fold(ctx, id, &events.Account{}, math.MaxUint64); err != nil {
				return err
			}
			fresh = true
		default:
			// The append may be stored or not. The next command reads the log to find out.
			h.evict(id)
			return fmt.Errorf("append to account %s: %w", id, err)
		}
	}
	h.evict(id)
	return fmt.Errorf("account %s: %w after %d attempts", id, ErrBusy, maxAttempts)
}

// batch is what the commands of one append come to, each decided on top of the one before.
type batch struct {
	calls    []*call
	stream   events.Stream
	expected uint64          // the account's version before the batch
	state    *events.Account // after the commands that were decided so far
	events   []events.Event
	claims   []eventstore.ClaimChange
	receipts []eventstore.NamedReceipt
}

// decideBatch gives each call its outcome, beginning at state. The error is the log's, for
// all calls.
func (h *Accounts) decideBatch(ctx context.Context, id ulid.ULID, state *events.Account, calls []*call) (*batch, error) {
	b := &batch{calls: calls, stream: events.AccountStream(id), expected: state.Version, state: state}
	for i, c := range calls {
		c.outcome, c.err = Outcome{}, nil
		ran, err := h.ranBefore(ctx, c)
		if err != nil {
			return nil, err
		}
		if ran || c.repeatsOneOf(calls[:i]) {
			continue
		}
		c.outcome, c.err = h.decideNext(b, c)
	}
	return b, nil
}

// decideNext decides one call and adds its events to the batch. A refused command adds
// nothing, unless the refusal itself must be stored, as that of a wrong code.
func (h *Accounts) decideNext(b *batch, c *call) (Outcome, error) {
	now := h.now()
	d, err := c.command.decide(*b.state, now)
	if err != nil {
		return Outcome{}, err
	}
	next := b.state
	if len(d.payloads) > 0 { // others hold the state by pointer, so it is copied once
		changed := *b.state
		next = &changed
	}
	evs := b.events
	for _, p := range d.payloads {
		// Time never runs backwards within an account, even if the machine's clock does
		// or the clocks of two nodes differ.
		if now.Before(next.Updated) {
			now = next.Updated
		}
		e, err := newEvent(b.stream, next.Version+1, now, c.meta, p)
		if err != nil {
			return Outcome{}, err
		}
		next.Apply(e, p)
		evs = append(evs, e)
	}
	out := Outcome{Account: next, Changed: len(d.payloads) > 0, Rejected: d.rejected, At: c.once.At}
	if c.once.Name != "" {
		r, err := newReceipt(c.once, out, d.refusal, now)
		if err != nil {
			return Outcome{}, err
		}
		b.receipts = append(b.receipts, r)
	}
	b.claims = append(b.claims, claimChanges(b.state, next)...)
	b.events, b.state = evs, next
	if d.refusal != nil {
		return out, d.refusal
	}
	return out, nil
}

// isEmpty reports whether there is nothing to append.
func (b *batch) isEmpty() bool { return len(b.events) == 0 && len(b.receipts) == 0 }

// append stores the batch and returns the position of its last event. Without events
// that position means nothing.
func (b *batch) append(ctx context.Context, store *eventstore.Store) (last uint64, err error) {
	if b.isEmpty() {
		return 0, nil
	}
	return store.Append(ctx, b.stream, b.expected, b.claims, b.events, b.receipts...)
}

// setPositions completes the states of the batch. The events of one append have
// consecutive positions, of which last is the last. A state without any of them is the
// cache's, or that of a receipt.
func (b *batch) setPositions(last uint64) {
	for _, c := range b.calls {
		if a := c.outcome.Account; c.err == nil && !c.outcome.Replayed && a.Version > b.expected {
			a.Position = last - (b.state.Version - a.Version)
		}
	}
	if len(b.events) > 0 {
		b.state.Position = last
	}
}
