package eventstoretest

import (
	"context"
	"sync/atomic"

	"konto/eventstore"
)

var telling = []Check{
	{"who asked is told of what was stored, once, before Wait tells of it", func(ctx context.Context, t T, log eventstore.Log) {
		const rounds, waiters = 20, 8
		last, stream := uint64(0), newStream()
		for round := range rounds {
			after := last
			var told, calls atomic.Uint64
			b := batch(stream, uint64(round)*2, 2)
			b.Stored = func(last uint64) { told.Store(last); calls.Add(1) }
			ready, early := make(chan struct{}, waiters), make(chan bool, waiters)
			for range waiters {
				go func() {
					ready <- struct{}{}
					err := log.Wait(ctx, after)
					early <- err == nil && told.Load() == 0
				}()
			}
			for range waiters {
				<-ready
			}
			last = mustAppend(ctx, t, log, b)
			for range waiters {
				if <-early {
					t.Fatalf("Wait told of a record of which nobody else had been")
				}
			}
			if told.Load() != last || calls.Load() != 1 {
				t.Errorf("told %d times, at last of position %d, of an append that ended at %d", calls.Load(), told.Load(), last)
			}
		}
	}},
	{"nobody is told of what was not stored", func(ctx context.Context, t T, log eventstore.Log) {
		stream, key := newStream(), newKey()
		mustAppend(ctx, t, log, batch(newStream(), 0, 1, take(key)))
		mustAppend(ctx, t, log, batch(stream, 0, 1))
		without := batch(stream, 1, 0, take(newKey()))
		for what, b := range map[string]eventstore.Batch{
			"at a version that is past": batch(stream, 0, 1), "with a claim that is taken": batch(stream, 1, 1, take(key)), "without records": without,
		} {
			b.Stored = func(last uint64) { t.Errorf("told of position %d by a batch %s", last, what) }
			if _, err := log.Append(ctx, b); (err == nil) != (len(b.Records) == 0) {
				t.Errorf("a batch %s: %v", what, err)
			}
		}
	}},
}
