package postgres

import (
	"context"
	"errors"
	"testing"

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
