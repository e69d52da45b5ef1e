package eventstoretest

import (
	"context"
	"math"

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
	{"positions in the feed only rise", func(ctx context.Context, t T, log eventstore.Log) {
		var last uint64
		for range 3 {
			last = mustAppend(ctx, t, log, batch(newStream(), 0, 3))
		}
		expectRising(t, feed(ctx, t, log, last))
	}},
	{"the head is the position of the last record", func(ctx context.Context, t T, log eventstore.Log) {
		mustAppend(ctx, t, log, batch(newStream(), 0, 3))
		last := mustAppend(ctx, t, log, batch(newStream(), 0, 2))
		feed(ctx, t, log, last)
		if head, err := log.Head(ctx); err != nil || head != last {
			t.Errorf("head is %d, %v; want %d", head, err, last)
		}
	}},
	{"the feed and the streams tell the same", func(ctx context.Context, t T, log eventstore.Log) {
		stream := newStream()
		mustAppend(ctx, t, log, batch(stream, 0, 2))
		last := mustAppend(ctx, t, log, batch(stream, 2, 2))
		expectRecords(t, "the feed", feed(ctx, t, log, last), streamOf(ctx, t, log, stream))
	}},
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
