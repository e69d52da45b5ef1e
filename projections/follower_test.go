package projections

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
)

func (h *fixture) openAccounts(n int) {
	h.t.Helper()
	for i := range n {
		h.openAccount(fmt.Sprintf("a%d@example.com", i))
	}
}

func TestFollowerAppliesEveryEventOnceInOrder(t *testing.T) {
	h := newFixture(t)
	l := &recorder{}
	h.follower = NewFollower(FollowerConfig{Name: "recorder", Store: h.store, Projection: l, Batch: 7})
	h.openAccounts(20)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- h.follower.Run(ctx) }()
	h.drain()
	h.openAccounts(3)
	h.drain()
	stop()
	h.must(<-done)
	if got := fmt.Sprint(l.applied); got != sequence(1, 23) {
		t.Errorf("applied %s", got)
	}
	if l.batches < 3 || l.batches > 6 {
		t.Errorf("%d batches for 20 events and then 3, at most 7 a batch", l.batches)
	}
}

func TestFollowerResumesWhereItsProjectionEnded(t *testing.T) {
	h := newFixture(t)
	l := &recorder{applied: []uint64{1, 2}}
	h.follower = NewFollower(FollowerConfig{Store: h.store, Projection: l, Log: slog.New(slog.DiscardHandler)})
	h.openAccounts(4)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- h.follower.Run(ctx) }()
	h.drain()
	stop()
	h.must(<-done)
	if got := fmt.Sprint(l.applied); got != sequence(1, 4) {
		t.Errorf("applied %s", got)
	}
}

// canary is personal data that must not show.
const canary = "canary@example.com"

// poisons are ways to append an event that will never apply.
var poisons = map[string]struct {
	batch  int
	append func(h *fixture) (position uint64)
	match  error
	says   string
}{
	"unknown type": {500, func(h *fixture) uint64 {
		return h.poison(events.AccountStream(ulid.Make()), 0, "AccountMerged.v9", `{"email":"`+canary+`"}`)
	}, events.ErrUnknownType, "AccountMerged.v9"},
	"data that does not decode": {500, func(h *fixture) uint64 {
		return h.poison(events.AccountStream(ulid.Make()), 0, events.TypeAccountOpened, `{"`+canary+`":1}`)
	}, nil, events.TypeAccountOpened},
	"key lost": {500, func(h *fixture) uint64 {
		id := ulid.Make()
		position, err := h.log.Append(h.t.Context(), eventstore.Batch{Stream: events.AccountStream(id), Records: []eventstore.Record{{
			Stream: events.AccountStream(id), Version: 1, ID: ulid.Make(), Type: events.TypeAccountOpened,
			Time: time.Now().UTC().Truncate(time.Millisecond), Metadata: []byte("{}"), Data: []byte("sealed"),
		}}})
		h.must(err)
		return position
	}, eventstore.ErrNoKey, events.TypeAccountOpened},
	"out of step": {500, func(h *fixture) uint64 {
		return h.append(events.AccountStream(ulid.Make()), 0, events.CredentialRevoked{})
	}, ErrOutOfStep, events.TypeCredentialRevoked},
	"first of a batch": {6, func(h *fixture) uint64 {
		return h.poison(events.AccountStream(ulid.Make()), 0, "AccountMerged.v9", `{}`)
	}, events.ErrUnknownType, "AccountMerged.v9"},
}

func TestPoisonStopsLoudlyAfterTheEventsBeforeIt(t *testing.T) {
	for name, test := range poisons {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newFixture(t)
				h.openAccounts(6)
				position := test.append(h)
				h.openAccounts(3)
				var logged bytes.Buffer
				h.follower = NewFollower(FollowerConfig{
					Name: "read-model", Store: h.store, Projection: h.model, Batch: test.batch,
					Log: slog.New(slog.NewTextHandler(&logged, nil)),
				})
				err := h.runIntoPoison(position)
				if err == nil || test.match != nil && !errors.Is(err, test.match) {
					t.Errorf("Run returned %v", err)
				}
				text := logged.String()
				for _, want := range []string{"level=ERROR", test.says, fmt.Sprintf("position %d", position)} {
					if !strings.Contains(text, want) {
						t.Errorf("the log lacks %q:\n%s", want, text)
					}
				}
				if strings.Contains(text+h.follower.Status().Error, canary) {
					t.Errorf("the payload shows:\n%s", text)
				}
			})
		})
	}
}

// runIntoPoison runs the follower until it stops in front of the position, after
// its retries, and returns its error.
func (h *fixture) runIntoPoison(position uint64) error {
	h.t.Helper()
	waiting := make(chan error, 1)
	go func() { waiting <- h.follower.WaitFor(context.Background(), position) }()
	began := time.Now()
	err := h.follower.Run(h.t.Context())
	if took := time.Since(began); took < 20*time.Second || took > 40*time.Second {
		h.t.Errorf("it gave up after %v", took)
	}
	if waited := <-waiting; waited != err {
		h.t.Errorf("WaitFor returned %v, Run %v", waited, err)
	}
	status := h.follower.Status()
	if status.State != StateStopped || status.Position != position-1 || status.Error != err.Error() {
		h.t.Errorf("status %+v", status)
	}
	if h.position() != position-1 {
		h.t.Errorf("read model at %d, poison at %d", h.position(), position)
	}
	return err
}

func TestFollowerRecoversWhenTheFaultPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		h.openAccounts(10)
		passes := time.Now().Add(5 * time.Second)
		l := &recorder{fail: func(batch []events.Event) error {
			if time.Now().Before(passes) {
				return failAt(6)(batch)
			}
			return nil
		}}
		follower := NewFollower(FollowerConfig{Store: h.store, Projection: l, Log: slog.New(slog.DiscardHandler)})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- follower.Run(ctx) }()

		time.Sleep(lingering)
		synctest.Wait() // it sleeps between two tries
		if status := follower.Status(); status.Position != 5 || status.State != StateRetrying || !strings.Contains(status.Error, "position 6") {
			t.Errorf("while it retries: %+v", status)
		}
		h.must(follower.WaitFor(ctx, 10))
		if status := follower.Status(); status.Error != "" || status.State != StateFollowing {
			t.Errorf("after it recovered: %+v", status)
		}
		stop()
		h.must(<-done)
		if got := fmt.Sprint(l.applied); got != sequence(1, 10) {
			t.Errorf("applied %s", got)
		}
	})
}

// rested is a projection that counts how often it was put to rest.
type rested struct {
	recorder
	times int
}

func (r *rested) Rest(ctx context.Context) error {
	r.times++
	return ctx.Err() // that of the follower has ended by then
}

func TestFollowerCallsRestWhenItEnds(t *testing.T) {
	h := newFixture(t)
	h.openAccounts(3)
	var logged bytes.Buffer
	projection := &rested{}
	follower := NewFollower(FollowerConfig{Store: h.store, Projection: projection, Log: slog.New(slog.NewTextHandler(&logged, nil))})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- follower.Run(ctx) }()
	h.must(follower.WaitFor(t.Context(), 3))
	stop()
	h.must(<-done)
	if projection.times != 1 || logged.Len() != 0 {
		t.Errorf("rested %d times: %s", projection.times, logged.String())
	}
}

// opened is a projection whose position is known only once it is open.
type opened struct {
	recorder
	open bool
}

func (o *opened) Open(context.Context) error {
	o.open = true
	return nil
}

func (o *opened) Position(ctx context.Context) (uint64, error) {
	if !o.open {
		return 0, errors.New("not open")
	}
	return o.recorder.Position(ctx)
}

func TestFollowerOpensItsProjectionBeforeItAsksForItsPosition(t *testing.T) {
	h := newFixture(t)
	h.openAccounts(3)
	follower := NewFollower(FollowerConfig{Store: h.store, Projection: &opened{}, Log: slog.New(slog.DiscardHandler)})
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	done := make(chan error)
	go func() { done <- follower.Run(ctx) }()
	h.must(follower.WaitFor(ctx, 3))
	stop()
	h.must(<-done)
}

func TestFollowerEndsWithItsContext(t *testing.T) {
	tests := map[string]struct {
		events int
		fail   func([]events.Event) error
	}{
		"while it waits for events": {0, nil},
		"while it retries":          {3, failAt(2)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newFixture(t)
				h.openAccounts(test.events)
				follower := NewFollower(FollowerConfig{Store: h.store, Projection: &recorder{fail: test.fail}, Log: slog.New(slog.DiscardHandler)})
				ctx, stop := context.WithCancel(t.Context())
				done, waiting := make(chan error), make(chan error)
				go func() { done <- follower.Run(ctx) }()
				go func() { waiting <- follower.WaitFor(context.Background(), 100) }()
				synctest.Wait()
				began := time.Now()
				stop()
				h.must(<-done)
				if err := <-waiting; err != ErrStopped {
					t.Errorf("WaitFor returned %v", err)
				}
				if took := time.Since(began); took != 0 {
					t.Errorf("it took %v to end", took)
				}
			})
		})
	}
}

func TestFollowerRefusesALogThatEndsBeforeItsPosition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		h.openAccounts(2)
		l := &recorder{applied: []uint64{3}}
		err := NewFollower(FollowerConfig{Store: h.store, Projection: l, Log: slog.New(slog.DiscardHandler)}).Run(t.Context())
		if !errors.Is(err, ErrOutOfStep) {
			t.Errorf("Run returned %v", err)
		}
	})
}

func TestWaitForEndsWithItsContext(t *testing.T) {
	h := newFixture(t)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := h.follower.WaitFor(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("WaitFor returned %v", err)
	}
}
