package deliveries

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/projections"
)

// The delays before a third party's deliveries are started again after an error.
const (
	firstDelay = time.Second
	lastDelay  = 16 * time.Second
)

// thirdParty runs the deliveries to one third party. Each third party has a goroutine of its
// own (work), so that what one waits for does not hold up another.
//
//	          active              paused, rewind, removed, or to be disabled
//	waiting ─────────▶ running ──────────────────────────────────────────────▶ waiting
//	waiting ─────────▶ Registry.Disable ──▶ waiting      the run asked for it
//	waiting ─────────▶ Store.DeleteParty ──▶ end         it was removed
type thirdParty struct {
	d     *Deliveries
	id    ulid.ULID
	log   *slog.Logger
	party atomic.Pointer[events.ThirdParty] // as last loaded
	// exclusive holds a value while a run, a rewind or the removal uses the store.
	exclusive chan struct{}

	mu      sync.Mutex
	removed bool
	run     *run               // the run under way, nil without one
	stop    context.CancelFunc // ends that run, or the wait for it
	waits   bool               // for another process that may send to the third party
	disable string             // why the third party has to be disabled
	// loadedAfter is the position of the event that disabled the third party. Nothing is
	// sent before the third party was loaded as of that event.
	loadedAfter uint64
	rewinds     int           // that wait or are under way
	last        PartyStatus   // of the run that ended last
	changed     chan struct{} // closed and replaced when any of these changes
}

func newThirdParty(d *Deliveries, party events.ThirdParty) *thirdParty {
	t := &thirdParty{
		d: d, id: party.ID, log: d.cfg.Log.With("third_party", party.Name),
		exclusive: make(chan struct{}, 1), last: PartyStatus{Position: party.Checkpoint}, changed: make(chan struct{}),
	}
	party.KeepSigningKeys()
	t.party.Store(&party)
	return t
}

// change changes what mu guards, and stops a run that must not go on.
func (t *thirdParty) change(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f()
	if !t.mayRun() && t.stop != nil {
		t.stop()
	}
	close(t.changed)
	t.changed = make(chan struct{})
}

// mayRun reports whether anything may be sent. The caller holds mu.
func (t *thirdParty) mayRun() bool {
	party := t.party.Load()
	return !t.removed && party.State == events.ThirdPartyActive && t.disable == "" &&
		party.Position >= t.loadedAfter && t.rewinds == 0
}

func (t *thirdParty) update(party events.ThirdParty) {
	party.KeepSigningKeys()
	t.change(func() { t.party.Store(&party) })
}

func (t *thirdParty) remove() { t.change(func() { t.removed = true }) }

// disableFor is called by the run when the third party has to be disabled.
func (t *thirdParty) disableFor(reason string) { t.change(func() { t.disable = reason }) }

func (t *thirdParty) isActive() bool { return t.party.Load().State == events.ThirdPartyActive }

// begin waits until nothing else uses the store for this third party; end lets others.
func (t *thirdParty) begin(ctx context.Context) error {
	select {
	case t.exclusive <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *thirdParty) end() { <-t.exclusive }

// work goes on until ctx ends or the third party was removed.
func (t *thirdParty) work(ctx context.Context) {
	t.readPosition(ctx)
	wasInactive, delay := false, firstDelay
	for ctx.Err() == nil {
		t.mu.Lock()
		removed, reason, may, changed := t.removed, t.disable, t.mayRun(), t.changed
		t.mu.Unlock()
		var err error
		switch {
		case removed:
			if err = t.delete(ctx); err == nil {
				return
			}
		case reason != "":
			err = t.disableNow(ctx, reason)
		case may:
			err, wasInactive = t.deliver(ctx, wasInactive), false
		default:
			wasInactive = wasInactive || !t.isActive()
			t.readPosition(ctx)
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
		if err == nil || ctx.Err() != nil {
			delay = firstDelay
			continue
		}
		t.log.Error("deliveries are held up and are tried again", "delay", delay, "error", err)
		select {
		case <-time.After(delay):
		case <-ctx.Done():
		}
		delay = min(2*delay, lastDelay)
	}
}

// readPosition reads for the status how far the third party has come.
func (t *thirdParty) readPosition(ctx context.Context) {
	position, ok, err := t.d.cfg.DB.Position(ctx, t.id)
	if err == nil && ok {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.last.Position = position
	}
}

// deliver makes a run, until ctx ends or it must not go on. resumed means that the third
// party was paused or disabled before.
func (t *thirdParty) deliver(ctx context.Context, resumed bool) error {
	if err := t.begin(ctx); err != nil {
		return err
	}
	defer t.end()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	t.change(func() { t.stop, t.waits = stop, t.d.cfg.DB.Shared() })
	err := t.d.cfg.DB.Hold(ctx, t.id, func(held context.Context, db Held) error {
		t.change(func() { t.waits = false })
		if db.Shared() {
			if err := t.d.catchUp(ctx); err != nil {
				return err
			}
		}
		r := newRun(t, db, resumed)
		if err := r.load(ctx); err != nil {
			return err
		}
		t.change(func() { t.run = r })
		r.loop(ctx, held)
		return nil
	})
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.run != nil {
		t.last = t.run.currentStatus()
	}
	t.run, t.stop, t.waits = nil, nil, false
	if ctx.Err() != nil { // the run was told to end
		return nil
	}
	return err
}

// disableNow records that the third party is disabled. Nothing is sent before it is
// recorded. After a crash before that, the third party is tried once more.
func (t *thirdParty) disableNow(ctx context.Context, reason string) error {
	if !t.isActive() { // an operator was first
		t.change(func() { t.disable = "" })
		return nil
	}
	position, err := t.d.cfg.Registry.Disable(ctx, t.id, reason)
	if err != nil {
		return err
	}
	t.log.Warn("third party is disabled and keeps its place until it is resumed", "reason", reason)
	t.change(func() { t.disable, t.loadedAfter = "", position })
	return nil
}

// delete deletes what is stored and counted of a third party that was removed.
func (t *thirdParty) delete(ctx context.Context) error {
	if err := t.begin(ctx); err != nil {
		return err
	}
	defer t.end()
	err := t.d.cfg.DB.Hold(ctx, t.id, func(_ context.Context, db Held) error { return db.DeleteParty(ctx, t.id) })
	if err != nil {
		return err
	}
	t.d.metrics.delete(t.party.Load().Name) // not before: the last run counted its attempts
	return nil
}

// rewind stops the run and sets the position back; the next run begins there.
func (t *thirdParty) rewind(ctx context.Context, position uint64) error {
	t.change(func() { t.rewinds++ })
	defer t.change(func() { t.rewinds-- })
	if err := t.begin(ctx); err != nil {
		return err
	}
	defer t.end()
	t.mu.Lock()
	removed := t.removed
	t.mu.Unlock()
	if removed {
		return projections.ErrStopped
	}
	err := t.d.cfg.DB.Rewind(ctx, t.id, position)
	if err == nil {
		t.change(func() { t.last.Position = position })
	}
	return err
}

// status is how the deliveries are doing; head is the end of the log.
func (t *thirdParty) status(head uint64) PartyStatus {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.last
	if t.run != nil {
		s = t.run.currentStatus()
	}
	party := t.party.Load()
	s.ID, s.Name, s.State = t.id, party.Name, party.State
	if t.waits {
		return PartyStatus{ID: s.ID, Name: s.Name, State: StateElsewhere}
	}
	if head > s.Position {
		s.Lag = head - s.Position
	}
	return s
}
