package deliveries

import (
	"container/heap"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
)

const (
	// endTime bounds how long attempts under way are waited for at an orderly
	// end. One that takes longer is cut off, and made again after the next start.
	endTime = 5 * time.Second

	// troubleDelay is the time before a lane is tried again whose events or row
	// could not be read, and before the log is that could not be.
	troubleDelay = 5 * time.Second
)

// lanes is Watermill's subscriber of one third party: it hands out the events
// that are due, never two of one account at a time. One goroutine, the loop,
// owns all of it but out; each turn has its own.
type lanes struct {
	cfg      Config
	id       ulid.ULID
	party    atomic.Pointer[events.ThirdParty]
	schedule schedule
	feed     *feed
	log      *slog.Logger
	told     func(*turn)           // for metrics
	halt     func(reason string)   // asks to disable the third party
	fresh    bool                  // it was resumed: lanes are tried at once
	out      chan *message.Message // unbuffered: what is handed out is being sent

	open     map[ulid.ULID]*lane
	due      []*lane // in the order in which they became it
	waiting  waiting
	quick    []*lane // wait, and may be hastened
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

var _ message.Subscriber = (*lanes)(nil)

// Subscribe implements message.Subscriber. It goes on until ctx ends; the
// channel is closed once attempts under way are settled, or were cut off.
func (l *lanes) Subscribe(ctx context.Context, _ string) (<-chan *message.Message, error) {
	go func() {
		defer close(l.out)
		l.run(ctx)
	}()
	return l.out, nil
}

// Close implements message.Subscriber. Ending Subscribe's ctx is what ends it.
func (l *lanes) Close() error { return nil }

// load finds out where to go on; it comes before Subscribe.
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
	rows, err := l.cfg.Ledger.Waiting(ctx, l.id)
	if err != nil {
		return err
	}
	last, err := l.cfg.Ledger.Attempts(ctx, Filter{Party: l.id, Outcome: OutcomeDelivered, Limit: 1})
	if err != nil {
		return err
	}
	if len(last) > 0 {
		l.taken = last[0].At
	}
	l.position, l.progress = position, newProgress(position, party.Checkpoint)
	for _, row := range rows {
		if l.fresh {
			row = row.anew()
		}
		lane := reopenLane(row)
		l.open[row.Account] = lane
		l.enqueue(lane, row.Next)
	}
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
		l.ripen(time.Now())
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
	if !at.After(now) {
		l.due = append(l.due, lane)
		return
	}
	lane.due = at
	heap.Push(&l.waiting, lane)
	if !lane.hastened && at.Sub(now) > hasteFrom {
		l.quick = append(l.quick, lane)
	}
}

// begin makes a lane due whose next event was not tried yet.
func (l *lanes) begin(lane *lane) {
	l.enqueue(lane, time.Now().Add(l.schedule[0]))
}

// ripen makes lanes due that have waited long enough.
func (l *lanes) ripen(now time.Time) {
	for len(l.waiting) > 0 && !l.waiting[0].due.After(now) {
		lane := heap.Pop(&l.waiting).(*lane)
		lane.hastened = false
		l.due = append(l.due, lane)
	}
}

// dispatch begins turns, as many as the third party bears.
func (l *lanes) dispatch(attempts context.Context) {
	if l.halted || time.Now().Before(l.pace.hold) {
		return
	}
	for l.busy < l.pace.limit && len(l.due) > 0 {
		lane := l.due[0]
		l.due[0], l.due = nil, l.due[1:]
		lane.begin()
		l.busy++
		t := &turn{lane: lane, party: *l.party.Load(), behind: lane.behind, others: l.taken, round: l.pace.round}
		go func() {
			l.take(attempts, t)
			l.ended <- t
		}()
	}
}

// finish takes in what came of a turn.
func (l *lanes) finish(t *turn) {
	l.busy--
	lane := t.lane
	lane.end(t.stored, t.readAll)
	if t.err != nil {
		l.troubled(t.err)
	}
	if t.stored {
		l.progress.settled(t)
		l.well(t.err)
	}
	if t.tried && t.stored {
		l.judged(t)
		l.told(t)
	}
	switch {
	case t.err != nil && !t.stored:
		l.enqueueLater(lane)
	case lane.row.Attempts > 0:
		l.enqueue(lane, lane.row.Next)
	case lane.more():
		l.begin(lane)
	default:
		delete(l.open, lane.row.Account)
	}
}

// enqueueLater puts off a lane that konto itself has trouble with.
func (l *lanes) enqueueLater(lane *lane) {
	lane.due = time.Now().Add(troubleDelay)
	heap.Push(&l.waiting, lane)
}

// wake is when there is something to do although nothing happens.
func (l *lanes) wake(now time.Time) time.Time {
	at := l.progress.next(now)
	if l.readAgain.After(now) && l.readAgain.Before(at) {
		at = l.readAgain
	}
	if len(l.waiting) > 0 && l.waiting[0].due.Before(at) {
		at = l.waiting[0].due
	}
	if len(l.due) > 0 && l.pace.hold.After(now) && l.pace.hold.Before(at) {
		at = l.pace.hold
	}
	return at
}
