package projections

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"konto/events"
)

// turns lets a follower follow when a test says so.
type turns struct {
	give chan struct{} // each element is one turn
	take chan struct{} // each element ends one
}

func (t turns) hold(ctx context.Context, do func(ctx context.Context) error) error {
	select {
	case <-t.give:
	case <-ctx.Done():
		return ctx.Err()
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	done := make(chan error)
	go func() { done <- do(ctx) }()
	select {
	case <-t.take:
		end()
		return errors.Join(errors.New("taken"), <-done)
	case err := <-done:
		return err
	}
}

// standby runs a follower with a Hold until the test ends.
func (h *fixture) standby(p Projection, log *slog.Logger) (turns, <-chan error) {
	turns := turns{make(chan struct{}), make(chan struct{})}
	h.follower = NewFollower(FollowerConfig{Name: "recorder", Store: h.store, Projection: p, Hold: turns.hold, Log: log})
	done := make(chan error, 1)
	ctx, stop := context.WithCancel(h.t.Context())
	go func() { done <- h.follower.Run(ctx) }()
	h.t.Cleanup(stop)
	return turns, done
}

func (h *fixture) isStandby() {
	h.t.Helper()
	if got := h.follower.Status(); got.State != StateStandby || got.Error != "" {
		h.t.Errorf("status %+v", got)
	}
	for name, wait := range map[string]func(context.Context, uint64) error{"WaitFor": h.follower.WaitFor, "WaitUnlessRetrying": h.follower.WaitUnlessRetrying} {
		if err := wait(h.t.Context(), 1000); err != ErrStandby {
			h.t.Errorf("%s returned %v", name, err)
		}
	}
}

func TestFollowerFollowsOnlyWhileItHoldsItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		h.openAccounts(3)
		l := &rested{}
		turns, _ := h.standby(l, slog.New(slog.DiscardHandler))
		h.isStandby()
		synctest.Wait()
		if h.isStandby(); len(l.applied) != 0 {
			t.Errorf("it applied %d events before its turn", len(l.applied))
		}
		turns.give <- struct{}{}
		synctest.Wait()
		h.must(h.follower.WaitFor(t.Context(), 3))

		blocked := make(chan error)
		go func() { blocked <- h.follower.WaitFor(context.Background(), 4) }()
		synctest.Wait()
		turns.take <- struct{}{}
		if err := <-blocked; err != ErrStandby {
			t.Errorf("WaitFor returned %v when the turn ended", err)
		}
		synctest.Wait()
		h.isStandby()
		if l.times != 1 {
			t.Errorf("it was put to rest %d times", l.times)
		}

		h.openAccounts(4)
		l.applied = append(l.applied, 4, 5) // by another node
		turns.give <- struct{}{}
		synctest.Wait()
		h.must(h.follower.WaitFor(t.Context(), 7))
		if got := fmt.Sprint(l.applied); got != sequence(1, 7) {
			t.Errorf("applied %s", got)
		}
	})
}

func TestFollowerWithATurnEndsWithItsContext(t *testing.T) {
	for name, held := range map[string]bool{"while it stands by": false, "while it follows": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newFixture(t)
				turns := turns{make(chan struct{}, 1), make(chan struct{})}
				f := NewFollower(FollowerConfig{Store: h.store, Projection: &recorder{}, Hold: turns.hold, Log: slog.New(slog.DiscardHandler)})
				ctx, stop := context.WithCancel(t.Context())
				if held {
					turns.give <- struct{}{}
				}
				done := make(chan error)
				go func() { done <- f.Run(ctx) }()
				synctest.Wait()
				stop()
				h.must(<-done)
				if got := f.Status().State; got != StateStopped {
					t.Errorf("it is %s", got)
				}
				if err := f.WaitFor(context.Background(), 1); err != ErrStopped {
					t.Errorf("WaitFor returned %v", err)
				}
			})
		})
	}
}

func TestPoisonEndsAFollowerWithATurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		h.openAccounts(2)
		l := &recorder{fail: func([]events.Event) error { return ErrOutOfStep }}
		turns, done := h.standby(l, slog.New(slog.DiscardHandler))
		turns.give <- struct{}{}
		if err := <-done; !errors.Is(err, ErrOutOfStep) {
			t.Errorf("Run returned %v", err)
		}
		if got := h.follower.Status().State; got != StateStopped {
			t.Errorf("it is %s", got)
		}
	})
}

// stuck cannot save its state.
type stuck struct{ recorder }

func (s *stuck) Rest(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestProjectionThatCannotSaveItsStateDoesNotKeepTheTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		h.openAccounts(1)
		var logged bytes.Buffer
		l := &stuck{}
		turns, _ := h.standby(l, slog.New(slog.NewTextHandler(&logged, nil)))
		turns.give <- struct{}{}
		synctest.Wait()
		h.must(h.follower.WaitFor(t.Context(), 1))
		turns.take <- struct{}{}
		time.Sleep(restTime)
		synctest.Wait()
		h.isStandby()
		if !bytes.Contains(logged.Bytes(), []byte("could not save its state")) {
			t.Errorf("the log says %s", &logged)
		}
	})
}
