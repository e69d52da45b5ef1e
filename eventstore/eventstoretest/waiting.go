package eventstoretest

import (
	"context"
	"errors"

	"konto/eventstore"
)

var waiting = []Check{
	{"a wait for what is there returns, and it can be read", func(ctx context.Context, t T, log eventstore.Log) {
		last := mustAppend(ctx, t, log, batch(newStream(), 0, 2))
		if err := log.Wait(ctx, last-1); err != nil {
			t.Fatalf("wait: %v", err)
		}
		if records, err := log.ReadAll(ctx, last-1, 10); err != nil || len(records) != 1 {
			t.Errorf("after the wait there are %d records, %v", len(records), err)
		}
	}},
	{"an append wakes all who wait", func(ctx context.Context, t T, log eventstore.Log) {
		const rounds, waiters = 20, 8
		last := mustAppend(ctx, t, log, batch(newStream(), 0, 1))
		feed(ctx, t, log, last)
		// Nothing tells that a waiter really waits when the append comes, only
		// that it is about to: in some of many rounds it does.
		for range rounds {
			ready, woken := make(chan struct{}, waiters), make(chan error, waiters)
			for range waiters {
				go func() {
					ready <- struct{}{}
					woken <- log.Wait(ctx, last)
				}()
			}
			for range waiters {
				<-ready
			}
			next := mustAppend(ctx, t, log, batch(newStream(), 0, 1))
			for range waiters {
				if err := <-woken; err != nil {
					t.Fatalf("wait: %v", err)
				}
			}
			last = next
		}
	}},
	{"a wait ends with its context, and not before", func(ctx context.Context, t T, log eventstore.Log) {
		last := mustAppend(ctx, t, log, batch(newStream(), 0, 1))
		feed(ctx, t, log, last)
		waiting, cancel := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- log.Wait(waiting, last) }()
		// Claims alone are no record.
		mustAppend(ctx, t, log, batch(newStream(), 0, 0, take(newKey())))
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("wait: %v, want the context's error", err)
		}
	}},
	{"closing the log ends a wait", func(ctx context.Context, t T, log eventstore.Log) {
		ended := make(chan error, 1)
		go func() { ended <- log.Wait(ctx, 0) }()
		closeLog(t, log)
		if err := <-ended; !errors.Is(err, eventstore.ErrClosed) {
			t.Errorf("wait: %v, want ErrClosed", err)
		}
	}},
}
