package deliveries

import (
	"container/heap"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/oklog/ulid/v2"

	"konto/eventstore"
	"konto/projections/webhook"
)

const (
	// endTime bounds how long requests under way are waited for when a run stops. A request
	// that takes longer is cut off and made again by the next run.
	endTime = 5 * time.Second

	// troubleDelay is the time before konto tries again what it could not do itself: read
	// an account's events or its row, make a request, or read the log.
	troubleDelay = 5 * time.Second

	// hasteFrom is how long a delivery must have to wait for it to be worth hastening.
	hasteFrom = 10 * time.Second
)

// run is the deliveries to one third party, from when it becomes active until it is paused,
// disabled, rewound or removed, or konto stops. One goroutine (loop) owns all fields between
// ended and mu. Each request has a goroutine of its own, which works on a copy of its Delivery
// (deliver) and returns the result to the loop through ended (finish).
type run struct {
	d        *Deliveries
	db       Held
	of       *thirdParty
	log      *slog.Logger
	around   []message.HandlerMiddleware // around each request
	schedule schedule
	requests *requests // of all third parties
	resumed  bool      // the third party was resumed: what waits is tried at once
	ended    chan func()

	// open are the deliveries that have something to send, by account. Each of them is busy,
	// in due or in waiting.
	open map[ulid.ULID]*Delivery
	// held are those whose row in the store does not say that they wait. They hold back the
	// position.
	held    map[*Delivery]struct{}
	due     []*Delivery // held ones that may be sent now, the first to become due at the beginning
	waiting waiting     // the others
	oldest  bool        // the next attempt is for the first of waiting, if that is due
	slow    []*Delivery // those of waiting that wait for long, and may be hastened
	busy    int         // how many are busy

	limiter  limiter
	accepted time.Time              // when the third party last accepted an event
	failing  bool                   // the last request failed
	halted   bool                   // the third party has to be disabled
	trouble  map[*Delivery]struct{} // what konto itself fails to send; nil stands for reading the log

	position  uint64              // up to here the log was read
	unread    []eventstore.Record // what is left of the page of the log that was read last
	readAgain time.Time           // when the log is read again after that failed
	progress  progress

	mu     sync.Mutex
	status PartyStatus
}

func newRun(of *thirdParty, db Held, resumed bool) *run {
	d := of.d
	d.metrics.begin(of.party.Load().Name)
	return &run{
		d: d, db: db, of: of, log: of.log, schedule: schedule(d.cfg.Schedule), requests: d.requests, resumed: resumed,
		around: []message.HandlerMiddleware{logged(of.log)},
		ended:  make(chan func()), limiter: newLimiter(d.cfg.Concurrency),
		open: map[ulid.ULID]*Delivery{}, held: map[*Delivery]struct{}{}, trouble: map[*Delivery]struct{}{},
	}
}

// load reads from the store where to go on. It comes before loop.
func (r *run) load(ctx context.Context) error {
	id, checkpoint, db := r.of.id, r.of.party.Load().Checkpoint, r.db
	position, ok, err := db.Position(ctx, id)
	if err == nil && !ok {
		position = checkpoint
		err = db.SetPosition(ctx, id, position)
	}
	if err != nil {
		return err
	}
	if r.resumed {
		if err := db.ResetSchedule(ctx, id); err != nil {
			return err
		}
	}
	rows, err := db.Waiting(ctx, id)
	if err != nil {
		return err
	}
	if r.accepted, err = db.LastDelivered(ctx, id); err != nil {
		return err
	}
	now := time.Now()
	if r.accepted.After(now) { // a clock was wrong
		r.accepted = now
	}
	r.position, r.progress = position, newProgress(position, checkpoint)
	for i := range rows {
		d := &rows[i]
		d.stored, d.index = true, -1
		r.schedule.boundTimes(d, now)
		r.open[d.Account] = d
		r.enqueue(d, d.Next)
	}
	r.report()
	return nil
}

// loop reads the log and sends what is due, until ctx ends. It then waits for the requests
// under way, bounded, and stores how far the third party has come. When held ends (Store.Hold), it
// cuts the requests off and stores nothing.
func (r *run) loop(ctx, held context.Context) {
	requests, cutOff := context.WithCancel(held)
	defer cutOff()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil && held.Err() == nil {
		_, _, moved := r.d.feed.watch() // before reading, so that nothing is missed in between
		more := r.read(ctx)
		r.start(requests)
		r.saveProgress(ctx, time.Now())
		r.report()
		if more {
			timer.Reset(0)
		} else {
			timer.Reset(time.Until(r.wakeAt(time.Now())))
		}
		select {
		case finish := <-r.ended:
			finish()
		case <-moved:
		case <-timer.C:
		case <-ctx.Done():
		case <-held.Done():
		}
	}
	defer time.AfterFunc(endTime, cutOff).Stop()
	for r.busy > 0 {
		(<-r.ended)()
	}
	if held.Err() == nil {
		r.saveAllProgress(held)
	}
	r.report()
}

// start begins as many attempts as the third party may have under way.
func (r *run) start(ctx context.Context) {
	for {
		now := time.Now()
		if at, ok := r.nextAttempt(now); !ok || at.After(now) {
			return
		}
		d := r.choose(now)
		d.busy = true
		r.busy++
		party, accepted, round, copied := r.of.party.Load(), r.accepted, r.limiter.round, *d
		go func() {
			result, a, err := r.deliver(ctx, party, copied, accepted)
			r.ended <- func() { r.finish(d, result, a, err, round) }
		}()
	}
}

// nextAttempt is when the next attempt may begin. ok is false when something else has to
// happen before, such as the end of another attempt.
func (r *run) nextAttempt(now time.Time) (at time.Time, ok bool) {
	if r.halted || r.busy >= min(r.limiter.limit, r.requests.share()) {
		return at, false
	}
	switch {
	case len(r.due) > 0:
		at = now
	case len(r.waiting) > 0:
		at = r.waiting[0].due
	default:
		return at, false
	}
	if r.limiter.hold.After(at) {
		at = r.limiter.hold
	}
	return at, true
}

// choose returns the delivery of the next attempt. New ones and those that waited take
// turns: however many there are of one kind, they do not hold up the other.
func (r *run) choose(now time.Time) *Delivery {
	waited := len(r.waiting) > 0 && !r.waiting[0].due.After(now)
	if waited && (r.oldest || len(r.due) == 0) {
		r.oldest = false
		return heap.Pop(&r.waiting).(*Delivery)
	}
	r.oldest = true
	next := r.due[0]
	r.due[0], r.due = nil, r.due[1:]
	return next
}

// finish handles the result of deliver: the delivery as it is stored now, or an error after
// which nothing is.
func (r *run) finish(d *Delivery, result Delivery, a *Attempt, err error, round int) {
	r.busy--
	newest := max(d.newest, result.newest) // more events may have come meanwhile
	if err != nil {
		d.busy, d.hastened, d.newest = false, false, newest
		if !errors.Is(err, context.Canceled) {
			r.troubled(d, err)
		}
		r.enqueue(d, time.Now().Add(troubleDelay))
		return
	}
	*d = result
	d.busy, d.newest, d.event, d.hastened = false, newest, nil, a != nil && a.early
	r.untroubled(d)
	r.progress.stored(d, a)
	if a != nil {
		r.conclude(a, round)
		r.d.metrics.count(r.of.party.Load().Name, a)
	}
	switch {
	case d.waits():
		delete(r.held, d)
	case d.newest > d.Version: // more came during the attempt, and the store does not know it
		r.held[d] = struct{}{}
	default:
		delete(r.held, d)
		delete(r.open, d.Account)
		return
	}
	if d.Attempts > 0 {
		r.enqueue(d, d.Next)
	} else {
		r.enqueue(d, time.Now().Add(r.schedule[0]))
	}
}

// conclude draws the conclusions of an attempt for the whole third party.
func (r *run) conclude(a *Attempt, round int) {
	switch a.verdict {
	case webhook.Delivered:
		r.limiter.succeeded()
		r.accepted = a.ended
		r.hasten(a.ended)
	case webhook.Slow:
		r.limiter.slowed(round, a.ended)
	}
	if holdsAll(a) {
		r.limiter.holdUntil(a.ended.Add(min(a.retryAfter, longestWait)))
	}
	r.logAttempt(a)
	if a.disable != "" && !r.halted {
		r.halted = true
		r.of.disableFor(a.disable)
	}
}

// hasten makes deliveries that wait for long due now, because the third party accepts events
// again. Each is hastened once in a wait: one whose event is at fault would otherwise be
// tried with every success.
func (r *run) hasten(now time.Time) {
	for _, d := range r.slow {
		if d.index >= 0 && !d.hastened {
			d.hastened, d.due = true, now
			heap.Fix(&r.waiting, d.index)
		}
	}
	r.slow = r.slow[:0]
}

// logAttempt logs when failures begin and end, and not every attempt in between.
func (r *run) logAttempt(a *Attempt) {
	switch failed := a.verdict == webhook.Failed || a.verdict == webhook.Slow; {
	case failed && !r.failing:
		r.log.Warn("delivery failed and is retried", "event", a.Event, "status", a.Status, "problem", a.problem)
		r.failing = true
	case a.verdict == webhook.Delivered && r.failing:
		r.log.Info("deliveries succeed again")
		r.failing = false
	}
	if a.Outcome == OutcomeFailed {
		r.log.Warn("event was given up for this third party; redeliver sends it again", "event", a.Event, "position", a.Position)
	}
}

// troubled notes that konto itself fails to send an account's events, or with nil to read the
// log. The first such error is logged; the next one only after all trouble has ended.
func (r *run) troubled(d *Delivery, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status.Error == "" {
		r.log.Error("an account's events cannot be sent", "error", err)
	}
	r.trouble[d] = struct{}{}
	r.status.Error = err.Error()
}

// untroubled notes that the trouble with an account has ended, or with nil that of reading the
// log.
func (r *run) untroubled(d *Delivery) {
	delete(r.trouble, d)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.trouble) == 0 {
		r.status.Error = ""
	}
}

// enqueue makes a delivery due at a time.
func (r *run) enqueue(d *Delivery, at time.Time) {
	now := time.Now()
	_, held := r.held[d]
	if held && !at.After(now) {
		r.due = append(r.due, d)
		return
	}
	d.due = at
	heap.Push(&r.waiting, d)
	if !held && !d.hastened && at.Sub(now) > hasteFrom {
		r.slow = append(r.slow, d)
	}
}

// wakeAt is when there is something to do although nothing happens.
func (r *run) wakeAt(now time.Time) time.Time {
	at := r.progress.nextSave(now)
	if r.readAgain.After(now) && r.readAgain.Before(at) {
		at = r.readAgain
	}
	if next, ok := r.nextAttempt(now); ok && next.Before(at) {
		at = next
	}
	return at
}

// report makes the loop's state visible to Status.
func (r *run) report() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Position, r.status.Accounts = r.covered(), len(r.open)
	r.status.Waiting, r.status.InFlight, r.status.Limit = len(r.waiting), r.busy, r.limiter.limit
}

func (r *run) currentStatus() PartyStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

// waiting are deliveries by the time at which they are due; a heap.
type waiting []*Delivery

var _ heap.Interface = (*waiting)(nil)

func (w waiting) Len() int           { return len(w) }
func (w waiting) Less(i, j int) bool { return w[i].due.Before(w[j].due) }
func (w waiting) Swap(i, j int) {
	w[i], w[j] = w[j], w[i]
	w[i].index, w[j].index = i, j
}

// Push implements heap.Interface.
func (w *waiting) Push(x any) {
	d := x.(*Delivery)
	d.index = len(*w)
	*w = append(*w, d)
}

// Pop implements heap.Interface.
func (w *waiting) Pop() any {
	last := len(*w) - 1
	d := (*w)[last]
	(*w)[last], *w = nil, (*w)[:last]
	d.index = -1
	return d
}
