package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"konto/events"
	"konto/eventstore"
)

// Projection is what a Follower feeds.
type Projection interface {
	// Position returns the position to go on after: that of the last event that was
	// applied, or an earlier one after a crash, if applying events again is harmless.
	Position(ctx context.Context) (uint64, error)

	// Apply takes in a batch of consecutive events, in log order, and moves the
	// position to that of the last, in one step: after a crash either all of
	// the batch was applied or Position tells to begin with it or before. Events at
	// or below the position are dropped. It may block until ctx ends, as when
	// what it writes to is away. An error that incurable knows means that the
	// batch is at fault; after any other the batch is applied again, for ever.
	Apply(ctx context.Context, batch []events.Event) error
}

// resting is a Projection that has something to put down when it is called no more.
type resting interface {
	Rest(ctx context.Context) error
}

// opener is a Projection that opens what it writes to before its follower asks for its Position. Open
// may block until ctx ends.
type opener interface {
	Open(ctx context.Context) error
}

// ErrStopped is returned by WaitFor when the follower was asked to stop before
// it reached the position.
var ErrStopped = errors.New("follower was stopped")

// FollowerConfig configures a Follower.
type FollowerConfig struct {
	Name       string            // in logs and health reports
	Store      *eventstore.Store // required
	Projection Projection        // required
	Batch      int               // events a batch at most; 0 means 500
	Log        *slog.Logger      // nil means slog.Default()
}

// Follower feeds a projection from the log.
type Follower struct {
	cfg FollowerConfig
	// suspect is the last position of a batch that failed: up to there events
	// are applied one by one. Only Run's goroutine uses it.
	suspect uint64
	began   time.Time     // when the last batch did; only Run's goroutine uses it
	hurry   chan struct{} // has a token when somebody waits for a position

	mu      sync.Mutex // guards what follows
	status  Status
	waiting int           // how many wait for a position
	trouble error         // why the last step failed, nil when it did not
	ended   error         // what WaitFor returns once Run has
	changed chan struct{} // closed and replaced when any of these changes
}

// NewFollower makes a follower; Run starts it.
func NewFollower(cfg FollowerConfig) *Follower {
	if cfg.Batch <= 0 {
		cfg.Batch = 500
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Follower{cfg: cfg, status: Status{Name: cfg.Name, State: StateFollowing}, hurry: make(chan struct{}, 1), changed: make(chan struct{})}
}

// Run follows the log until ctx ends, when it returns nil, or until it came upon
// what no retry will mend, such as an event that does not decode, and retried
// for some 30 seconds. Then it returns what is wrong; the position stays before
// that event. Other errors are retried until they pass.
//
// To shut down without losing work, call WaitFor with the log's head and end
// ctx afterwards.
func (f *Follower) Run(ctx context.Context) error {
	err := f.follow(ctx)
	if ctx.Err() != nil {
		err = nil // what failed, failed because it was cut off
	}
	if p, ok := f.cfg.Projection.(resting); ok {
		if err := p.Rest(context.WithoutCancel(ctx)); err != nil {
			f.cfg.Log.Warn("follower could not put down where it is", "follower", f.cfg.Name, "error", err)
		}
	}
	f.stopped(err)
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

// resume begins where the projection ended.
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
	// Another log, or an older copy of it. On a replicated log this node's feed
	// may only be late, which the retries wait for.
	if head < position {
		return fmt.Errorf("%w: it is at position %d and the log ends at %d", ErrOutOfStep, position, head)
	}
	f.movedTo(position)
	return nil
}

// advance waits until there are events and applies the next batch, which is as
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
		return err // says type and position
	}
	// What precedes an unreadable event is applied first. The error comes back
	// with the next read, which begins at that event.
	last := batch[len(batch)-1].Position
	if err := f.cfg.Projection.Apply(ctx, batch); err != nil {
		if len(batch) == 1 {
			return &applyError{event: batch[0].Type, position: last, err: err}
		}
		f.suspect = last
		return nil
	}
	f.movedTo(last)
	return nil
}

// Status is how a follower is doing.
type Status struct {
	Name     string `json:"name"`
	State    string `json:"state"`
	Position uint64 `json:"position"`
	Error    string `json:"error,omitzero"` // why it retries or stopped
}

// The states of a follower. A Projection with a method State tells the first two apart.
const (
	StateFollowing = "following"
	StateWaiting   = "waiting for NATS" // well, but what the projection writes to is away
	StateRetrying  = "retrying"         // heals by itself once the error passes
	StateStopped   = "stopped"          // for good
)

// Status reports how the follower is doing.
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

func (f *Follower) stopped(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status.State, f.status.Error = StateStopped, ""
	f.ended, f.trouble = ErrStopped, nil
	if err != nil {
		f.status.Error, f.ended = err.Error(), err
		f.cfg.Log.Error("follower stopped, and falls behind until this is repaired and konto restarted",
			"follower", f.cfg.Name, "position", f.status.Position, "error", err)
	}
	f.wake()
}

// wake lets those who wait look again. The caller holds mu.
func (f *Follower) wake() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// The delays between tries of a step double from the first to the last. After
// as many as an incurable error is given, 31.875 s together, an operator is to be
// told of it; until then it may be that the log's feed is late, or an error was
// taken for what it is not.
const (
	firstDelay      = 125 * time.Millisecond
	lastDelay       = 16 * time.Second
	incurableDelays = 8
)

// retry repeats a step until it succeeds, ctx ends, or it failed too often with
// incurable errors.
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
