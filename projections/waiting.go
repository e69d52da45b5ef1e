package projections

import (
	"context"
	"time"
)

// WaitFor returns once the projection has taken in the event at a position, or
// ctx's error, or the error that stopped the follower, or ErrStopped.
func (f *Follower) WaitFor(ctx context.Context, position uint64) error {
	return f.wait(ctx, position, func() error { return f.ended })
}

// WaitUnlessRetrying is WaitFor for callers who had better be told than wait: it
// also returns the error of a follower that retries.
func (f *Follower) WaitUnlessRetrying(ctx context.Context, position uint64) error {
	return f.wait(ctx, position, func() error {
		if f.trouble != nil {
			return f.trouble
		}
		return f.ended
	})
}

// wait waits for a position until giveUp, which is called with mu held, returns
// an error.
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
		select { // the follower looks for waiters before it lingers; this is for one that lingers already
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

// await counts those who wait for a position.
func (f *Follower) await(more int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting += more
}

// lingering is the time from one batch to the next, in which events gather that
// then share its cost: a transaction, or a round trip.
const lingering = 5 * time.Millisecond

// linger waits until a batch is due, or somebody waits for a position, or ctx ends.
func (f *Follower) linger(ctx context.Context) {
	select { // of one who waited before, and does no more
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
