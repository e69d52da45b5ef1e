package eventstoretest

import (
	"context"
	"errors"
	"math"
	"slices"

	"konto/events"
	"konto/eventstore"
)

var reading = []Check{
	{"an empty log reads as empty", func(ctx context.Context, t T, log eventstore.Log) {
		if head, err := log.Head(ctx); err != nil || head != 0 {
			t.Errorf("head is %d, %v", head, err)
		}
		if records, err := log.ReadAll(ctx, 0, 10); err != nil || len(records) != 0 {
			t.Errorf("the feed has %d records, %v", len(records), err)
		}
		stream := newStream()
		expectRecords(t, "an unknown stream", streamOf(ctx, t, log, stream), nil)
		expectHead(ctx, t, log, stream, eventstore.StreamHead{})
	}},
	{"a stream is read in pages, in order", func(ctx context.Context, t T, log eventstore.Log) {
		one, other := batch(newStream(), 0, 5), batch(newStream(), 0, 5)
		mustAppend(ctx, t, log, one)
		mustAppend(ctx, t, log, other)
		for _, page := range []struct{ after, limit, from, to int }{
			{0, 2, 0, 2}, {2, 2, 2, 4}, {4, 2, 4, 5}, {5, 2, 5, 5}, {9, 2, 5, 5}, {0, 5, 0, 5}, {0, 99, 0, 5}, {0, 0, 0, 0}, {0, -1, 0, 0},
		} {
			got, err := log.ReadStream(ctx, one.Stream, uint64(page.after), page.limit)
			if err != nil {
				t.Fatalf("read %+v: %v", page, err)
			}
			expectRecords(t, "a page of the stream", got, one.Records[page.from:page.to])
		}
		if got, err := log.ReadStream(ctx, one.Stream, math.MaxUint64, 10); err != nil || len(got) != 0 {
			t.Errorf("after the highest version there are %d records, %v", len(got), err)
		}
	}},
	{"all streams are read in pages, one after the other", func(ctx context.Context, t T, log eventstore.Log) {
		streams := []events.Stream{newStream(), newStream(), newStream()}
		for version := range uint64(3) { // they take turns in the log
			for _, stream := range []events.Stream{streams[1], streams[2], streams[0]} {
				mustAppend(ctx, t, log, batch(stream, version, 1))
			}
		}
		slices.Sort(streams)
		var want []eventstore.Record
		for _, stream := range streams {
			want = append(want, streamOf(ctx, t, log, stream)...)
		}
		for _, size := range []int{1, 2, 100} {
			var got []eventstore.Record
			var stream events.Stream
			for version := uint64(0); len(got) <= len(want); {
				page, err := log.ByStream(ctx, stream, version, size)
				if err != nil {
					t.Fatalf("read all streams: %v", err)
				}
				if len(page) == 0 {
					break
				}
				got = append(got, page...)
				stream, version = page[len(page)-1].Stream, page[len(page)-1].Version
			}
			expectRecords(t, "all streams", got, want)
		}
	}},
	{"the feed is read in pages, in the order of positions", func(ctx context.Context, t T, log eventstore.Log) {
		var want []eventstore.Record
		var last uint64
		for range 4 {
			b := batch(newStream(), 0, 2)
			last = mustAppend(ctx, t, log, b)
			want = append(want, b.Records...)
		}
		all := feed(ctx, t, log, last)
		expectRecords(t, "the feed", all, want)
		var after uint64
		for i := 0; i < len(all); i += 3 {
			page, err := log.ReadAll(ctx, after, 3)
			if err != nil {
				t.Fatalf("read after %d: %v", after, err)
			}
			expectRecords(t, "a page of the feed", page, all[i:min(i+3, len(all))])
			after = page[len(page)-1].Position
		}
		for _, past := range []struct {
			after uint64
			limit int
		}{{last, 10}, {math.MaxUint64, 10}, {0, 0}, {0, -1}} {
			if got, err := log.ReadAll(ctx, past.after, past.limit); err != nil || len(got) != 0 {
				t.Errorf("read %+v: %d records, %v", past, len(got), err)
			}
		}
	}},
	{"positions in the feed count from 1 without gaps", func(ctx context.Context, t T, log eventstore.Log) {
		var last uint64
		for range 3 {
			last = mustAppend(ctx, t, log, batch(newStream(), 0, 3))
		}
		expectNoGaps(t, feed(ctx, t, log, last))
	}},
	{"the head is the position of the last record", func(ctx context.Context, t T, log eventstore.Log) {
		mustAppend(ctx, t, log, batch(newStream(), 0, 3))
		last := mustAppend(ctx, t, log, batch(newStream(), 0, 2))
		feed(ctx, t, log, last)
		if head, err := log.Head(ctx); err != nil || head != last {
			t.Errorf("head is %d, %v; want %d", head, err, last)
		}
	}},
	{"the feed and the streams agree", func(ctx context.Context, t T, log eventstore.Log) {
		stream := newStream()
		mustAppend(ctx, t, log, batch(stream, 0, 2))
		last := mustAppend(ctx, t, log, batch(stream, 2, 2))
		expectRecords(t, "the feed", feed(ctx, t, log, last), streamOf(ctx, t, log, stream))
	}},
}

// expectNoGaps expects the positions 1, 2, 3 and so on.
func expectNoGaps(t T, records []eventstore.Record) {
	t.Helper()
	for i, r := range records {
		if r.Position != uint64(i)+1 {
			t.Fatalf("record %d of the feed is at position %d", i+1, r.Position)
		}
	}
}

func expectRising(t T, records []eventstore.Record) {
	t.Helper()
	var before uint64
	for _, r := range records {
		if r.Position <= before {
			t.Fatalf("position %d is read after %d", r.Position, before)
		}
		before = r.Position
	}
}

var waiting = []Check{
	{"after a wait the record can be read", func(ctx context.Context, t T, log eventstore.Log) {
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
		// In some of the rounds a goroutine waits before the append.
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
