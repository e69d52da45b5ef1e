package projections

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// follow runs a follower of a new recorder until the test ends.
func (h *fixture) follow() *recorder {
	l := &recorder{}
	h.follower = NewFollower(FollowerConfig{Name: "recorder", Store: h.store, Projection: l})
	h.run()
	return l
}

func TestEventsGatherWhileFollowerLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		l := h.follow()
		const each = lingering / 10
		for range 100 {
			h.openAccount("a@example.com")
			time.Sleep(each)
		}
		time.Sleep(lingering)
		synctest.Wait()
		if got := fmt.Sprint(l.applied); got != sequence(1, 100) {
			t.Errorf("applied %s", got)
		}
		if l.batches < 10 || l.batches > 12 {
			t.Errorf("%d batches for 100 events, 10 of them in the time of one", l.batches)
		}
	})
}

func TestFirstEventAfterAQuietTimeIsDueAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		l := h.follow()
		for n := 1; n <= 2; n++ {
			time.Sleep(time.Minute)
			h.openAccount("a@example.com")
			synctest.Wait()
			if len(l.applied) != n {
				t.Errorf("%d events are applied, not %d", len(l.applied), n)
			}
		}
	})
}

func TestWaitingForAPositionEndsLingering(t *testing.T) {
	for name, lingers := range map[string]bool{"while the follower lingers": true, "before the event comes": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newFixture(t)
				l := h.follow()
				h.openAccount("a@example.com")
				synctest.Wait() // the first one is applied
				began, waited := time.Now(), make(chan error, 1)
				wait := func() { waited <- h.follower.WaitFor(context.Background(), 2) }
				if !lingers {
					go wait()
					synctest.Wait()
				}
				h.openAccount("b@example.com")
				if lingers {
					synctest.Wait()
					go wait()
				}
				h.must(<-waited)
				if took := time.Since(began); took != 0 || len(l.applied) != 2 {
					t.Errorf("%d events after %v", len(l.applied), took)
				}
				// Nobody waits any more: it lingers again.
				h.openAccount("c@example.com")
				synctest.Wait()
				if len(l.applied) != 2 {
					t.Error("it does not linger any more")
				}
			})
		})
	}
}

func TestFollowerStopsWhileItLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- h.follower.Run(ctx) }()
		h.openAccount("a@example.com")
		synctest.Wait()
		began := time.Now()
		stop()
		h.must(<-done)
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %v to end", took)
		}
	})
}
