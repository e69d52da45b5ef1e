package projections

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// fill keeps the read model's file from growing, until the returned
// function is called. There is no page left that could be used again.
func (h *fixture) fill() (free func()) {
	h.t.Helper()
	set := func(pages string) {
		_, err := h.model.file.writer.Exec("PRAGMA max_page_count = " + pages)
		h.must(err)
	}
	set("1") // SQLite takes it for the number there are
	return func() { set("1000000") }
}

func TestFollowerOutlastsAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		free := h.fill()
		h.openAccounts(100)
		h.follower = NewFollower(FollowerConfig{Store: h.store, Projection: h.model, Log: slog.New(slog.DiscardHandler)})
		h.run()

		began := time.Now()
		for time.Since(began) < time.Hour { // the bubble's clock: no time passes
			time.Sleep(time.Minute)
			if status := h.follower.Status(); status.State != StateRetrying || !strings.Contains(status.Error, "full") {
				t.Fatalf("after %v: %+v", time.Since(began), status)
			}
		}
		free()
		freed := time.Now()
		h.drain()
		if took := time.Since(freed); took > lastDelay {
			t.Errorf("it went on after %v", took)
		}
		if status := h.follower.Status(); status.State != StateFollowing || status.Error != "" || h.position() != 100 {
			t.Errorf("at %d: %+v", h.position(), status)
		}
	})
}

func TestWaitUnlessRetryingTellsTheFirstError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		h.openAccounts(2)
		h.follower = NewFollower(FollowerConfig{Store: h.store, Projection: &recorder{fail: failAt(2)}, Log: slog.New(slog.DiscardHandler)})
		began := time.Now()
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- h.follower.Run(ctx) }()
		if err := h.follower.WaitUnlessRetrying(ctx, 2); !errors.Is(err, errFaulty) {
			t.Errorf("returned %v", err)
		}
		h.must(h.follower.WaitUnlessRetrying(ctx, 1))
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %v", took)
		}
		stop()
		h.must(<-done)
		if err := h.follower.WaitUnlessRetrying(t.Context(), 2); err != ErrStopped {
			t.Errorf("once it ended: %v", err)
		}
	})
}
