package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"konto/events"
	"konto/events/tracing"
	"konto/eventstore"
)

// Projection is built from the log. A Follower gives it the events.
type Projection interface {
	// Position returns the position after which to go on: that of the last event
	// that was applied. After a crash it may be an earlier one, if it is harmless to
	// apply events again.
	Position(ctx context.Context) (uint64, error)

	// Apply applies a batch of consecutive events, in log order, and moves the
	// position to that of the last event, in one step: after a crash either the
	// whole batch was applied, or Position returns a position before the batch.
	// Apply drops events at or below the position. It may block until ctx ends, for
	// example while a server that it writes to is away. If incurable knows its
	// error, the batch is at fault. After any other error the batch is applied again, for ever.
	Apply(ctx context.Context, batch []events.Event) error
}

// flusher is implemented by projections that must save state before their follower stops.
type flusher interface {
	Rest(ctx context.Context) error
}

// opener is a Projection that opens what it writes to before its follower asks for its Position. Open
// may block until ctx ends.
type opener interface {
	Open(ctx context.Context) error
}

// ErrStandby is returned by WaitFor and WaitUnlessRetrying while another node feeds the projection.
// This node does not know how far it is.
var ErrStandby = errors.New("another node does this")

// ErrStopped is returned by WaitFor if the follower was asked to stop before it
// reached the position.
var ErrStopped = errors.New("follower was stopped")

// FollowerConfig configures a Follower.
type FollowerConfig struct {
	Name       string            // in logs and health reports
	Store      *eventstore.Store // required
	Projection Projection        // required
	Batch      int               // how many events a batch holds at most; 0 means 500
	// Hold calls do while this node, and no other, may give the projection events, and waits for
	// that before. It ends do's context when another node may, and returns when do has returned. It
	// may call do again and again: each time the projection is opened and asked for its position.
	// nil: always.
	Hold func(ctx context.Context, do func(ctx context.Context) error) error
	Log  *slog.Logger // nil means slog.Default()
}

// Follower feeds a projection from the log.
type Follower struct {
	cfg FollowerConfig
	// suspect is the last position of a batch that failed. Events up to this
	// position are applied one by one. Only Run's goroutine uses it.
	suspect uint64
	began   time.Time     // when the last batch began; only Run's goroutine uses it
	hurry   chan struct{} // holds a token when a caller waits for a position

	mu      sync.Mutex // guards what follows
	status  Status
	waiting int           // how many callers wait for a position
	trouble error         // why the last step failed, nil if it did not
	ended   error         // what WaitFor returns after Run returned, or while another node follows
	changed chan struct{} // closed and replaced when any of these changes
}

// NewFollower returns a follower; Run starts it.
func NewFollower(cfg FollowerConfig) *Follower {
	if cfg.Batch <= 0 {
		cfg.Batch = 500
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	f := &Follower{cfg: cfg, status: Status{Name: cfg.Name, State: StateFollowing}, hurry: make(chan struct{}, 1), changed: make(chan struct{})}
	if cfg.Hold != nil {
		f.standBy()
	}
	return f
}

// Run follows the log until ctx ends; it then returns nil. If it meets an error
// that no retry repairs, such as an event that does not decode, it retries for
// some 30 seconds and then returns the error; the position stays before that event.
// It retries other errors until they pass.
//
// With Hold it follows only while Hold calls it. In between it stands by.
//
// To shut down without losing work, call WaitFor with the log's head and end
// ctx afterwards.
func (f *Follower) Run(ctx context.Context) error {
	if f.cfg.Hold == nil {
		err := f.term(ctx)
		f.stopped(err)
		return err
	}
	for {
		var err error
		held := f.cfg.Hold(ctx, func(ctx context.Context) error {
			f.resumed()
			err = f.term(ctx)
			return err
		})
		if err != nil || ctx.Err() != nil {
			f.stopped(err)
			return err
		}
		f.standBy()
		f.cfg.Log.Info("follower stands by", "follower", f.cfg.Name, "reason", held)
		select { // Hold may fail at once, for example because the store is closed
		case <-time.After(firstDelay):
		case <-ctx.Done():
		}
	}
}

// restTime bounds how long a projection may take to save its state.
const restTime = 5 * time.Second

// term follows the log until ctx ends, and then returns nil, or until an error that no retry repairs.
func (f *Follower) term(ctx context.Context) error {
	err := f.follow(ctx)
	if ctx.Err() != nil {
		err = nil // the step failed because ctx ended
	}
	if p, ok := f.cfg.Projection.(flusher); ok {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), restTime)
		defer cancel()
		if err := p.Rest(bounded); err != nil {
			f.cfg.Log.Warn("follower could not save its state", "follower", f.cfg.Name, "error", err)
		}
	}
	return err
}

func (f *Follower) follow(ctx context.Context) error {
	if err := f.retry(ctx, f.resume); err != nil {
		return err
	}
	for {
		if err := f.retry(ctx, f.advance); err != nil {
			return err
		}
	}
}

// resume begins at the projection's position.
func (f *Follower) resume(ctx context.Context) error {
	if p, ok := f.cfg.Projection.(opener); ok {
		if err := p.Open(ctx); err != nil {
			return fmt.Errorf("find the position to resume from: %w", err)
		}
	}
	position, err := f.cfg.Projection.Position(ctx)
	if err != nil {
		return fmt.Errorf("find the position to resume from: %w", err)
	}
	head, err := f.cfg.Store.Head(ctx)
	if err != nil {
		return fmt.Errorf("find the end of the log: %w", err)
	}
	// The projection follows another log, or a newer copy of this one. On a
	// replicated log this node's feed may only be late; then the retries help.
	if head < position {
		return fmt.Errorf("%w: it is at position %d and the log ends at %d", ErrOutOfStep, position, head)
	}
	f.movedTo(position)
	return nil
}

// advance waits until there are events and applies the next batch. The batch is as
// long as the lag, up to the configured length.
func (f *Follower) advance(ctx context.Context) error {
	after := f.Status().Position
	if err := f.cfg.Store.Wait(ctx, after); err != nil {
		return fmt.Errorf("wait for the log: %w", err)
	}
	limit := f.cfg.Batch
	if after < f.suspect {
		limit = 1
	} else {
		f.linger(ctx)
	}
	batch, err := f.cfg.Store.ReadNext(ctx, after, limit)
	if len(batch) == 0 {
		return err // names the event's type and position
	}
	// The events before an unreadable one are applied first. The next read begins
	// at that event and returns the error again.
	last := batch[len(batch)-1].Position
	began := time.Now()
	err = f.cfg.Projection.Apply(ctx, batch)
	f.trace(batch, began, err)
	if err != nil {
		if len(batch) == 1 {
			return &eventstore.EventError{Type: batch[0].Type, Position: last, Err: err}
		}
		f.suspect = last
		return nil
	}
	f.movedTo(last)
	return nil
}

// trace exports a span for each event of a batch that a request caused.
func (f *Follower) trace(batch []events.Event, began time.Time, err error) {
	if !tracing.On() {
		return
	}
	problem := ""
	if err != nil {
		problem = "not applied"
	}
	for _, e := range batch {
		if began.Sub(e.Time) < tracing.Recent {
			tracing.Did(f.cfg.Name, e.Metadata.Trace, e.Metadata.TraceState, began, problem,
				"konto.event.type", e.Type, "konto.event.id", e.ID.String())
		}
	}
}

// Status tells how a follower is doing.
type Status struct {
	Name     string `json:"name"`
	State    string `json:"state"`
	Position uint64 `json:"position"`
	Error    string `json:"error,omitzero"` // why it retries or stopped
}

// The states of a follower. A Projection with a method State tells the first two apart.
const (
	StateFollowing = "following"
	StateWaiting   = "waiting for NATS" // healthy, but the server that the projection writes to is away
	StateRetrying  = "retrying"         // goes on by itself when the error passes
	StateStopped   = "stopped"          // for good
	StateStandby   = "standby"          // healthy, another node does this
)

// Status returns how the follower is doing.
func (f *Follower) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	status := f.status
	if p, ok := f.cfg.Projection.(interface{ State() string }); ok && status.State == StateFollowing {
		status.State = p.State()
	}
	return status
}

func (f *Follower) movedTo(position uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status.State, f.status.Position, f.status.Error = StateFollowing, position, ""
	f.trouble = nil
	f.wake()
}

// standBy ends the waiting of callers: another node feeds the projection.
func (f *Follower) standBy() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status.State, f.status.Error = StateStandby, ""
	f.ended, f.trouble = ErrStandby, nil
	f.wake()
}

// resumed ends standBy.
func (f *Follower) resumed() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status.State, f.ended = StateFollowing, nil
	f.wake()
}

func (f *Follower) stopped(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status.State, f.status.Error = StateStopped, ""
	f.ended, f.trouble = ErrStopped, nil
	if err != nil {
		f.status.Error, f.ended = err.Error(), err
		f.cfg.Log.Error("follower stopped; it falls behind until this is repaired and konto is restarted",
			"follower", f.cfg.Name, "position", f.status.Position, "error", err)
	}
	f.wake()
}

// wake makes waiting callers look again. The caller holds mu.
func (f *Follower) wake() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// The delays between retries of a step double from the first to the last. An
// incurable error is retried incurableDelays times, for 31.875 s, because the log's
// feed may only be late. Then the follower stops, so that an operator sees it.
const (
	firstDelay      = 125 * time.Millisecond
	lastDelay       = 16 * time.Second
	incurableDelays = 8
)

// retry runs a step until it succeeds, until ctx ends, or until it has failed too often
// with incurable errors.
func (f *Follower) retry(ctx context.Context, step func(context.Context) error) error {
	failures := 0 // incurable ones
	for delay := firstDelay; ; delay = min(2*delay, lastDelay) {
		err := step(ctx)
		if incurable(err) {
			failures++
		}
		if err == nil || ctx.Err() != nil || failures > incurableDelays {
			return err
		}
		f.retrying(err, delay)
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *Follower) retrying(err error, delay time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status.State, f.status.Error = StateRetrying, err.Error()
	f.trouble = err
	f.wake()
	f.cfg.Log.Warn("follower retries", "follower", f.cfg.Name, "delay", delay,
		"position", f.status.Position, "error", err)
}
