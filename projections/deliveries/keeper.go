package deliveries

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/projections"
	"konto/projections/webhook"
)

// The delays before a third party's deliveries are tried to be run again.
const (
	firstDelay = time.Second
	lastDelay  = 16 * time.Second
)

// keeper runs the deliveries of one third party while it is active. It is the
// only one that does, and each has its own: what one waits for, no other does.
type keeper struct {
	d   *Deliveries
	id  ulid.ULID
	log *slog.Logger

	mu      sync.Mutex
	party   events.ThirdParty
	removed bool
	lanes   *lanes             // of the run under way, nil without one
	stop    context.CancelFunc // ends that run
	disable string             // why the third party is to be disabled
	// after is the position of the event that disabled it: what is known of the
	// third party has to reach there before anything else is sent.
	after   uint64
	rewinds []rewind
	ended   bool          // nobody serves them any more
	last    PartyStatus   // of the run that ended last
	changed chan struct{} // closed and replaced when any of these changes
}

// rewind is a request to go back.
type rewind struct {
	position uint64
	done     chan error // buffered
}

func newKeeper(d *Deliveries, party events.ThirdParty) *keeper {
	party.KeepSigningKeys()
	return &keeper{
		d: d, id: party.ID, party: party, changed: make(chan struct{}),
		log: d.cfg.Log.With("third_party", party.Name), last: PartyStatus{Position: party.Checkpoint},
	}
}

// change changes what mu guards, and interrupts a run that must not go on.
func (k *keeper) change(f func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f()
	if k.lanes != nil {
		party := k.party
		k.lanes.party.Store(&party)
	}
	if !k.may() && k.stop != nil {
		k.stop()
	}
	close(k.changed)
	k.changed = make(chan struct{})
}

// may tells whether deliveries may run. The caller holds mu.
func (k *keeper) may() bool {
	return !k.removed && k.party.State == events.ThirdPartyActive && k.disable == "" &&
		k.party.Position >= k.after && len(k.rewinds) == 0
}

func (k *keeper) update(party events.ThirdParty) {
	party.KeepSigningKeys()
	k.change(func() { k.party = party })
}

func (k *keeper) remove() { k.change(func() { k.removed = true }) }

// keep runs until ctx ends or the third party was removed.
func (k *keeper) keep(ctx context.Context) {
	defer k.refuse()
	if position, ok, err := k.d.cfg.Ledger.Position(ctx, k.id); err == nil && ok {
		k.change(func() { k.last.Position = position })
	}
	held, delay := false, firstDelay
	for ctx.Err() == nil {
		k.mu.Lock()
		removed, reason, may, changed := k.removed, k.disable, k.may(), k.changed
		k.mu.Unlock()
		k.goBack(ctx)
		var err error
		switch {
		case removed:
			if err = k.d.cfg.Ledger.ForgetParty(ctx, k.id); err == nil {
				k.d.metrics.forget(k.party.Name) // not before: attempts under way were counted
				return
			}
		case reason != "":
			err = k.disableNow(ctx, reason)
		case may:
			err, held = k.run(ctx, held), false
		default:
			held = held || k.isHeld()
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
		if err == nil || ctx.Err() != nil {
			delay = firstDelay
			continue
		}
		k.log.Error("deliveries are held up and are tried again", "delay", delay, "error", err)
		select {
		case <-time.After(delay):
		case <-ctx.Done():
		}
		delay = min(2*delay, lastDelay)
	}
}

// isHeld tells whether the third party was paused or disabled.
func (k *keeper) isHeld() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.party.State != events.ThirdPartyActive
}

// run delivers until ctx ends or it must not go on. held tells that the third
// party was resumed just now.
func (k *keeper) run(ctx context.Context, held bool) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	l := k.d.newLanes(k, held)
	if err := l.load(ctx); err != nil {
		return err
	}
	k.mu.Lock()
	party := k.party
	l.party.Store(&party)
	k.lanes, k.stop = l, stop
	if !k.may() {
		stop()
	}
	k.mu.Unlock()
	l.run(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last = l.Status()
	k.lanes, k.stop = nil, nil
	return nil
}

// halt is called by lanes that got an answer after which nothing is to be sent.
func (k *keeper) halt(reason string) { k.change(func() { k.disable = reason }) }

// disableNow records that the third party is disabled. Until it is recorded
// nothing is sent; after a crash before, the third party is tried once more.
func (k *keeper) disableNow(ctx context.Context, reason string) error {
	if k.isHeld() { // an operator was first
		k.change(func() { k.disable = "" })
		return nil
	}
	position, err := k.d.cfg.Registry.Disable(ctx, k.id, reason)
	if err != nil {
		return err
	}
	k.log.Warn("third party is disabled and keeps its place until it is resumed", "reason", reason)
	k.change(func() { k.disable, k.after = "", position })
	return nil
}

// goBack serves the requests to rewind; nothing is being sent meanwhile.
func (k *keeper) goBack(ctx context.Context) {
	k.mu.Lock()
	all := k.rewinds
	k.mu.Unlock()
	for _, r := range all {
		err := k.d.cfg.Ledger.Rewind(ctx, k.id, r.position)
		if err == nil {
			k.change(func() { k.last.Position = r.position })
		}
		r.done <- err
	}
	if len(all) > 0 {
		k.change(func() { k.rewinds = k.rewinds[len(all):] })
	}
}

// refuse ends the requests to rewind that came too late.
func (k *keeper) refuse() {
	k.change(func() {
		for _, r := range k.rewinds {
			r.done <- projections.ErrStopped
		}
		k.rewinds, k.ended = nil, true
	})
}

// status is how the third party is doing.
func (k *keeper) status(head uint64) PartyStatus {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.last
	if k.lanes != nil {
		s = k.lanes.Status()
	}
	s.ID, s.Name, s.State = k.id, k.party.Name, k.party.State
	if head > s.Position {
		s.Lag = head - s.Position
	}
	return s
}

// newLanes makes what a run delivers from.
func (d *Deliveries) newLanes(k *keeper, held bool) *lanes {
	l := &lanes{
		cfg: d.cfg, id: k.id, schedule: schedule(d.cfg.Schedule), feed: d.feed, log: k.log, fresh: held, halt: k.halt,
		ended: make(chan *turn), pace: newPace(d.cfg.Concurrency), requests: d.requests,
		open: map[ulid.ULID]*lane{}, held: map[*lane]struct{}{}, trouble: map[*lane]struct{}{},
	}
	around := []message.HandlerMiddleware{logged(k.log), d.metrics.measured(k.party.Name)}
	l.send = func(ctx context.Context, party *events.ThirdParty, e *events.Event) webhook.Answer {
		return d.send(ctx, k.log, party, e, around...)
	}
	l.told = func(t *turn) { d.metrics.told(t.party.Name, t) }
	k.mu.Lock()
	defer k.mu.Unlock()
	party := k.party
	l.party.Store(&party)
	return l
}
