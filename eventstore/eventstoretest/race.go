package eventstoretest

import (
	"context"
	"errors"
	"sync"

	"konto/events"
	"konto/eventstore"
)

// racers is how many goroutines take part in a race.
const racers = 64

var racing = []Check{
	{"exactly one of many appends at one version is stored", func(ctx context.Context, t T, log eventstore.Log) {
		stream := newStream()
		for version := range uint64(5) {
			won := race(t, func(int) error {
				_, err := log.Append(ctx, batch(stream, version, 1))
				return err
			}, func(err error) bool {
				conflict, ok := isConflict(err)
				return ok && conflict.Actual > version
			})
			if won != 1 {
				t.Fatalf("%d of %d appends at version %d won", won, racers, version)
			}
		}
		expectVersions(t, streamOf(ctx, t, log, stream), 5)
	}},
	{"exactly one of many streams takes a key", func(ctx context.Context, t T, log eventstore.Log) {
		for range 5 {
			key := newKey()
			won := race(t, func(int) error {
				_, err := log.Append(ctx, batch(newStream(), 0, 1, take(key)))
				return err
			}, func(err error) bool {
				taken, ok := isTaken(err)
				return ok && taken.Key == key && taken.Holder != ""
			})
			if won != 1 {
				t.Fatalf("%d of %d took the key", won, racers)
			}
		}
	}},
	{"appends that retry after a conflict are each stored once", func(ctx context.Context, t T, log eventstore.Log) {
		stream := newStream()
		won := race(t, func(int) error { return appendAtEnd(ctx, log, stream) }, func(error) bool { return false })
		if won != racers {
			t.Errorf("%d of %d appends were acknowledged", won, racers)
		}
		expectVersions(t, streamOf(ctx, t, log, stream), won)
	}},
	{"a follower of concurrent appends misses nothing", func(ctx context.Context, t T, log eventstore.Log) {
		const each, total = 10, racers * 10
		following, stop := context.WithCancel(ctx)
		followed := make(chan []eventstore.Record, 1)
		go func() { followed <- follow(following, log, total) }()
		won := race(t, func(int) error {
			stream := newStream()
			for version := range uint64(each) {
				if _, err := log.Append(ctx, batch(stream, version, 1)); err != nil {
					return err
				}
			}
			return nil
		}, func(error) bool { return false })
		if won != racers {
			stop()
		}
		records := <-followed
		stop()
		if len(records) != total {
			t.Fatalf("the follower saw %d records, not %d", len(records), total)
		}
		expectNoGaps(t, records)
		expectRecords(t, "what was followed", records, feed(ctx, t, log, records[total-1].Position))
	}},
}

// race runs do in many goroutines at once and counts those that succeed. lost must accept the
// errors of the others.
func race(t T, do func(i int) error, lost func(error) bool) (won int) {
	t.Helper()
	start, results := make(chan struct{}), make(chan error, racers)
	var group sync.WaitGroup
	for i := range racers {
		group.Go(func() {
			<-start
			results <- do(i)
		})
	}
	close(start)
	group.Wait()
	close(results)
	for err := range results {
		switch {
		case err == nil:
			won++
		case !lost(err):
			t.Errorf("a racer got %v", err)
		}
	}
	return won
}

// appendAtEnd appends one record at the end of the stream. Each conflict means that another
// racer's append was stored, so there are fewer conflicts than racers.
func appendAtEnd(ctx context.Context, log eventstore.Log, stream events.Stream) error {
	var err error
	for range racers {
		var head eventstore.StreamHead
		if head, err = log.StreamHead(ctx, stream); err != nil {
			return err
		}
		if _, err = log.Append(ctx, batch(stream, head.Version, 1)); !errors.Is(err, eventstore.ErrConflict) {
			return err
		}
	}
	return err
}

// follow reads the feed as a follower does, until it has total records, finds no record after
// a wait, or gets an error.
func follow(ctx context.Context, log eventstore.Log, total int) (records []eventstore.Record) {
	for after := uint64(0); len(records) < total; after = records[len(records)-1].Position {
		if err := log.Wait(ctx, after); err != nil {
			return records
		}
		page, err := log.ReadAll(ctx, after, 7)
		if err != nil || len(page) == 0 {
			return records
		}
		records = append(records, page...)
	}
	return records
}

// expectVersions expects the versions 1 to n.
func expectVersions(t T, records []eventstore.Record, n int) {
	t.Helper()
	if len(records) != n {
		t.Fatalf("the stream has %d records, not %d", len(records), n)
	}
	for i, r := range records {
		if r.Version != uint64(i)+1 {
			t.Fatalf("record %d has version %d", i+1, r.Version)
		}
	}
	expectRising(t, records)
}
