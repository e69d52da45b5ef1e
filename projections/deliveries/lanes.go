package deliveries

import (
	"container/heap"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/projections/webhook"
)

const (
	// endTime bounds how long attempts under way are waited for at an orderly
	// end. One that takes longer is cut off, and made again after the next start.
	endTime = 5 * time.Second

	// troubleDelay is the time before a lane is tried again whose events or row
	// could not be read, and before the log is that could not be.
	troubleDelay = 5 * time.Second
)

// lanes sends the events that are due to one third party, never two of one account
// at a time. One goroutine, the loop, owns all of it; each turn has its own.
type lanes struct {
	cfg      Config
	id       ulid.ULID
	party    atomic.Pointer[events.ThirdParty]
	schedule schedule
	feed     *feed
	log      *slog.Logger
	told     func(*turn)         // for metrics
	halt     func(reason string) // asks to disable the third party
	fresh    bool                // it was resumed: lanes are tried at once
	send     func(context.Context, *events.ThirdParty, *events.Event) webhook.Answer
	requests *requests // of all third parties

	open     map[ulid.ULID]*lane
	held     map[*lane]struct{} // of them those that hold back the position: the ledger does not know that they wait
	due      []*lane            // held ones that are due, in the order in which they became it
	waiting  waiting            // all others but busy ones
	oldest   bool               // the next turn is for one of waiting that is due, if there is one
	quick    []*lane            // wait, and may be hastened
	trouble  map[*lane]struct{} // konto itself has trouble with; nil stands for reading the log
	busy     int
	ended    chan *turn
	pace     pace
	halted   bool
	failing  bool                // the last attempt failed
	taken    time.Time           // when something was last delivered
	position uint64              // up to here the log was read
	unread   []eventstore.Record // of the page of the log that was read last
	// readAgain is when reading is tried again after it failed.
	readAgain time.Time
	progress  progress

	mu     sync.Mutex
	status PartyStatus
}

// load finds out where to go on; it comes before run.
func (l *lanes) load(ctx context.Context) error {
	party := l.party.Load()
	position, ok, err := l.cfg.Ledger.Position(ctx, l.id)
	if err == nil && !ok {
		position = party.Checkpoint
		err = l.cfg.Ledger.SetPosition(ctx, l.id, position)
	}
	if err != nil {
		return err
	}
	if l.fresh {
		if err := l.cfg.Ledger.BeginAnew(ctx, l.id); err != nil {
			return err
		}
	}
	rows, err := l.cfg.Ledger.Waiting(ctx, l.id)
	if err != nil {
		return err
	}
	now := time.Now()
	if l.taken, err = l.cfg.Ledger.LastDelivered(ctx, l.id); err != nil {
		return err
	}
	if l.taken.After(now) { // by a clock that was wrong
		l.taken = now
	}
	l.position, l.progress = position, newProgress(position, party.Checkpoint)
	for _, row := range rows {
		lane := reopenLane(row)
		l.open[row.Account] = lane
		l.enqueue(lane, row.sane(l.schedule, now).Next)
	}
	l.report()
	return nil
}

// run is the loop.
func (l *lanes) run(ctx context.Context) {
	attempts, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		_, _, moved := l.feed.watch() // before reading, so that nothing falls between
		more := l.read(ctx)
		l.dispatch(attempts)
		l.save(ctx, time.Now())
		l.report()
		if more {
			timer.Reset(0)
		} else {
			timer.Reset(time.Until(l.wake(time.Now())))
		}
		select {
		case t := <-l.ended:
			l.finish(t)
		case <-moved:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	l.wind(ctx, cut)
}

// wind waits for the attempts under way, bounded, and records how far all came.
func (l *lanes) wind(ctx context.Context, cut context.CancelFunc) {
	limit := time.AfterFunc(endTime, cut)
	defer limit.Stop()
	for l.busy > 0 {
		l.finish(<-l.ended)
	}
	l.saveAll(context.WithoutCancel(ctx))
	l.report()
}

// enqueue makes a lane due at a time, or now.
func (l *lanes) enqueue(lane *lane, at time.Time) {
	now := time.Now()
	_, held := l.held[lane]
	if held && !at.After(now) {
		l.due = append(l.due, lane)
		return
	}
	lane.due = at
	heap.Push(&l.waiting, lane)
	if !held && !lane.hastened && at.Sub(now) > hasteFrom {
		l.quick = append(l.quick, lane)
	}
}

// dispatch begins turns, as many as the third party bears.
func (l *lanes) dispatch(attempts context.Context) {
	for {
		now := time.Now()
		if at, ok := l.nextTurn(now); !ok || at.After(now) {
			return
		}
		lane := l.choose(now)
		lane.busy = true
		l.busy++
		t := &turn{of: lane, lane: *lane, party: *l.party.Load(), others: l.taken, round: l.pace.round}
		go func() {
			l.take(attempts, t)
			l.ended <- t
		}()
	}
}

// nextTurn is when the next turn may begin; it is not ok when something else has
// to happen before, such as the end of another.
func (l *lanes) nextTurn(now time.Time) (at time.Time, ok bool) {
	if l.halted || l.busy >= min(l.pace.limit, l.requests.share()) {
		return at, false
	}
	switch {
	case len(l.due) > 0:
		at = now
	case len(l.waiting) > 0:
		at = l.waiting[0].due
	default:
		return at, false
	}
	if l.pace.hold.After(at) {
		at = l.pace.hold
	}
	return at, true
}

// choose takes the lane of the next turn. New ones and those that waited take
// turns: however many there are of one kind, they do not hold up the other.
func (l *lanes) choose(now time.Time) *lane {
	waited := len(l.waiting) > 0 && !l.waiting[0].due.After(now)
	if waited && (l.oldest || len(l.due) == 0) {
		l.oldest = false
		return heap.Pop(&l.waiting).(*lane)
	}
	l.oldest = true
	next := l.due[0]
	l.due[0], l.due = nil, l.due[1:]
	return next
}

// finish takes in what came of a turn.
func (l *lanes) finish(t *turn) {
	l.busy--
	lane := t.of
	lane.busy, lane.hastened, lane.seen = false, t.early, max(lane.seen, t.lane.seen)
	if t.err != nil {
		l.troubled(lane, t.err)
	} else {
		l.well(lane)
	}
	if !t.stored {
		l.enqueue(lane, time.Now().Add(troubleDelay))
		return
	}
	l.progress.settled(t)
	if t.tried {
		l.judged(t)
		l.told(t)
	}
	lane.reach(t.row)
	switch {
	case t.row.waits():
		delete(l.held, lane)
	case lane.seen > t.row.Version: // it came while the turn was under way
		l.held[lane] = struct{}{}
	default:
		delete(l.held, lane)
		delete(l.open, lane.account)
		return
	}
	if t.row.Attempts > 0 {
		l.enqueue(lane, t.row.Next)
	} else {
		l.enqueue(lane, time.Now().Add(l.schedule[0]))
	}
}

// wake is when there is something to do although nothing happens.
func (l *lanes) wake(now time.Time) time.Time {
	at := l.progress.next(now)
	if l.readAgain.After(now) && l.readAgain.Before(at) {
		at = l.readAgain
	}
	if next, ok := l.nextTurn(now); ok && next.Before(at) {
		at = next
	}
	return at
}
