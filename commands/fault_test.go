package commands

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"konto/events"
	"konto/eventstore"
)

func TestUnknownOutcomeIsNotAcknowledgedAndForgotten(t *testing.T) {
	for _, tt := range []struct {
		name    string
		stored  bool
		version uint64 // after the next command
	}{{"stored", true, 3}, {"not stored", false, 2}} {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(t)
			id := n.open(t, "anna")
			n.log.set(func(ctx context.Context, b eventstore.Batch, log eventstore.Log) (uint64, error) {
				if tt.stored {
					if _, err := log.Append(ctx, b); err != nil {
						return 0, err
					}
				}
				return 0, eventstore.ErrOutcomeUnknown
			})
			if outcome, err := n.Do(t.Context(), id, events.Metadata{}, alias("a")); !errors.Is(err, eventstore.ErrOutcomeUnknown) || outcome.Changed {
				t.Errorf("acknowledged %+v, %v", outcome, err)
			}
			if _, ok := n.cache.Peek(id); ok {
				t.Error("the state is still cached")
			}
			n.log.set(nil)
			if got := n.do(t, id, alias("b")).Account.Version; got != tt.version {
				t.Errorf("version %d, want %d", got, tt.version)
			}
		})
	}
}

func TestUnknownOutcomeIsToldToTheWholeBatch(t *testing.T) {
	synctest.Test(t, testUnknownOutcomeIsToldToTheWholeBatch)
}

func testUnknownOutcomeIsToldToTheWholeBatch(t *testing.T) {
	n := newNode(t)
	id := n.open(t, "anna")
	_, errs, _ := n.queued(t, id, []Command{alias("a"), alias("b"), alias("c")}, func() {
		n.log.set(func(context.Context, eventstore.Batch, eventstore.Log) (uint64, error) {
			return 0, eventstore.ErrOutcomeUnknown
		})
	})
	if errs[0] != nil || !errors.Is(errs[1], eventstore.ErrOutcomeUnknown) || !errors.Is(errs[2], eventstore.ErrOutcomeUnknown) {
		t.Errorf("got %v", errs)
	}
}

func TestHangingLogIsGivenUp(t *testing.T) { synctest.Test(t, testHangingLogIsGivenUp) }

func testHangingLogIsGivenUp(t *testing.T) {
	n := newNode(t)
	id := n.open(t, "anna")
	n.log.set(func(ctx context.Context, _ eventstore.Batch, _ eventstore.Log) (uint64, error) {
		<-ctx.Done()
		return 0, eventstore.ErrOutcomeUnknown
	})
	if _, err := n.Do(t.Context(), id, events.Metadata{}, alias("a")); !errors.Is(err, eventstore.ErrOutcomeUnknown) {
		t.Errorf("got %v", err)
	}
}

func TestClosedLogIsAnError(t *testing.T) {
	n := newNode(t)
	id := n.open(t, "anna")
	n.log.Close()
	for _, c := range []Command{alias("a"), &Update{}} {
		if _, err := n.Do(t.Context(), id, events.Metadata{}, c); !errors.Is(err, eventstore.ErrClosed) {
			t.Errorf("got %v", err)
		}
	}
	if _, err := n.Load(t.Context(), id); !errors.Is(err, eventstore.ErrClosed) {
		t.Errorf("Load: %v", err)
	}
	if _, err := n.Find(t.Context(), events.EmailClaim("a@b.se")); !errors.Is(err, eventstore.ErrClosed) {
		t.Errorf("Find: %v", err)
	}
}

func TestPanickingLeaderLeavesNobodyWaiting(t *testing.T) {
	synctest.Test(t, testPanickingLeaderLeavesNobodyWaiting)
}

func testPanickingLeaderLeavesNobodyWaiting(t *testing.T) {
	n := newNode(t)
	id := n.open(t, "anna")
	hold := make(chan struct{})
	n.log.set(func(ctx context.Context, b eventstore.Batch, log eventstore.Log) (uint64, error) {
		<-hold
		if len(b.Records) == 2 {
			panic("broken")
		}
		return log.Append(ctx, b)
	})
	errs, panics := make([]error, 3), make([]any, 3)
	for i, c := range []Command{alias("a"), alias("b"), alias("c")} {
		go func() {
			defer func() { panics[i] = recover() }()
			_, errs[i] = n.Do(t.Context(), id, events.Metadata{}, c)
		}()
		synctest.Wait()
	}
	close(hold)
	synctest.Wait()
	if errs[0] != nil || panics[1] == nil || !errors.Is(errs[2], errAbandoned) {
		t.Errorf("errors %v, panics %v", errs, panics)
	}
	n.log.set(nil)
	n.do(t, id, alias("d"))
}
