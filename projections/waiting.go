package projections

import (
	"context"
	"time"
)

// WaitFor returns nil when the projection has applied the event at a position.
// Otherwise it returns ctx's error, the error that stopped the follower,
// ErrStopped, or at once ErrStandby.
func (f *Follower) WaitFor(ctx context.Context, position uint64) error {
	return f.wait(ctx, position, func() error { return f.ended })
}

// WaitUnlessRetrying is WaitFor for callers that have an alternative to waiting: it
// also returns the error of a follower that retries.
func (f *Follower) WaitUnlessRetrying(ctx context.Context, position uint64) error {
	return f.wait(ctx, position, func() error {
		if f.trouble != nil {
			return f.trouble
		}
		return f.ended
	})
}

// wait waits for a position, until giveUp returns an error. It calls giveUp with mu
// held.
func (f *Follower) wait(ctx context.Context, position uint64, giveUp func() error) error {
	f.await(1)
	defer f.await(-1)
	for {
		f.mu.Lock()
		reached, err, changed := f.status.Position >= position, giveUp(), f.changed
		f.mu.Unlock()
		if reached {
			return nil
		}
		if err != nil {
			return err
		}
		select { // a follower looks for waiting callers before it lingers; the token ends a lingering that has begun
		case f.hurry <- struct{}{}:
		default:
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// await counts the callers that wait for a position.
func (f *Follower) await(more int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting += more
}

// lingering is the time from the beginning of one batch to the next. The events
// that arrive meanwhile share the cost of a batch: a transaction, or a round trip.
const lingering = 5 * time.Millisecond

// linger waits until a batch is due, a caller waits for a position, or ctx ends.
func (f *Follower) linger(ctx context.Context) {
	select { // removes the token of a caller that no longer waits
	case <-f.hurry:
	default:
	}
	f.mu.Lock()
	awaited := f.waiting > 0
	f.mu.Unlock()
	if early := lingering - time.Since(f.began); early > 0 && !awaited {
		due := time.NewTimer(early)
		defer due.Stop()
		select {
		case <-due.C:
		case <-f.hurry:
		case <-ctx.Done():
		}
	}
	f.began = time.Now()
}
