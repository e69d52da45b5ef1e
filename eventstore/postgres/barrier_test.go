package postgres

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"konto/eventstore"
)

func TestBarrierThatIsJoinedAfterTheEndEndsAtOnce(t *testing.T) {
	b := newBarriers(nil, false, newMetrics().barriers)
	before := b.join()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	b.close()
	b.run(ended)
	for _, r := range []*round{before, b.join()} {
		select {
		case <-r.done:
			if !errors.Is(r.err, eventstore.ErrClosed) {
				t.Errorf("it ended with %v", r.err)
			}
		default:
			t.Error("it never ends")
		}
	}
}

func TestBarrierThatNoStandbyConfirmsInTimeIsNotReplicated(t *testing.T) {
	for _, unreplicated := range []bool{false, true} {
		b := newBarriers(nil, unreplicated, nil) // which nobody runs
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := b.pass(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrNotReplicated) == unreplicated {
			t.Errorf("unreplicated %v: %v", unreplicated, err)
		}
		// A server that cannot be reached is no missing standby.
		b.report(errors.New("connection refused"))
		if _, err := b.pass(ctx); !strings.Contains(err.Error(), "connection refused") || errors.Is(err, ErrNotReplicated) {
			t.Errorf("unreplicated %v: %v", unreplicated, err)
		}
	}
}
