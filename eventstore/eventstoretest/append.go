package eventstoretest

import (
	"bytes"
	"context"
	"errors"

	"konto/eventstore"
)

var appending = []Check{
	{"an append creates a stream and extends it", func(ctx context.Context, t T, log eventstore.Log) {
		stream := newStream()
		first := mustAppend(ctx, t, log, batch(stream, 0, 1))
		expectHead(ctx, t, log, stream, eventstore.StreamHead{Version: 1, Position: first})
		second := mustAppend(ctx, t, log, batch(stream, 1, 2))
		expectHead(ctx, t, log, stream, eventstore.StreamHead{Version: 3, Position: second})
	}},
	{"another version than expected is a conflict that names the actual one", func(ctx context.Context, t T, log eventstore.Log) {
		stream := newStream()
		expectConflict(ctx, t, log, batch(stream, 1, 1), 0)
		last := mustAppend(ctx, t, log, batch(stream, 0, 2))
		for _, expected := range []uint64{0, 1, 3} {
			expectConflict(ctx, t, log, batch(stream, expected, 1), 2)
		}
		expectHead(ctx, t, log, stream, eventstore.StreamHead{Version: 2, Position: last})
	}},
	{"streams have versions of their own", func(ctx context.Context, t T, log eventstore.Log) {
		one, other := newStream(), newStream()
		mustAppend(ctx, t, log, batch(one, 0, 2))
		mustAppend(ctx, t, log, batch(other, 0, 1))
		mustAppend(ctx, t, log, batch(one, 2, 1))
		expectConflict(ctx, t, log, batch(other, 3, 1), 1)
	}},
	{"a batch is stored whole", func(ctx context.Context, t T, log eventstore.Log) {
		b := batch(newStream(), 0, 5)
		mustAppend(ctx, t, log, b)
		expectRecords(t, "the stream", streamOf(ctx, t, log, b.Stream), b.Records)
	}},
	{"the positions of one append are consecutive and end with the returned one", func(ctx context.Context, t T, log eventstore.Log) {
		mustAppend(ctx, t, log, batch(newStream(), 0, 1))
		stream := newStream()
		last := mustAppend(ctx, t, log, batch(stream, 0, 4))
		for _, r := range streamOf(ctx, t, log, stream) {
			if want := last - 4 + r.Version; r.Position != want {
				t.Errorf("version %d of 4 is at position %d, not %d", r.Version, r.Position, want)
			}
		}
	}},
	{"records are read as they were appended, to the byte and the millisecond", func(ctx context.Context, t T, log eventstore.Log) {
		b := batch(newStream(), 0, 3)
		b.Records[1].Data = nil
		b.Records[2].Metadata = []byte{}
		last := mustAppend(ctx, t, log, b)
		expectRecords(t, "the stream", streamOf(ctx, t, log, b.Stream), b.Records)
		expectRecords(t, "the feed", feed(ctx, t, log, last), b.Records)
	}},
	{"the log shares no memory with its callers", func(ctx context.Context, t T, log eventstore.Log) {
		b := batch(newStream(), 0, 1)
		want := b.Records[0]
		want.Data, want.Metadata = bytes.Clone(want.Data), bytes.Clone(want.Metadata)
		last := mustAppend(ctx, t, log, b)
		spoil := func(records []eventstore.Record) {
			for i := range records {
				clear(records[i].Data)
				clear(records[i].Metadata)
				records[i] = eventstore.Record{}
			}
		}
		spoil(b.Records)
		spoil(streamOf(ctx, t, log, b.Stream))
		spoil(feed(ctx, t, log, last))
		expectRecords(t, "the stream", streamOf(ctx, t, log, b.Stream), []eventstore.Record{want})
		expectRecords(t, "the feed", feed(ctx, t, log, last), []eventstore.Record{want})
	}},
	{"an invalid batch is refused", func(ctx context.Context, t T, log eventstore.Log) {
		b := batch(newStream(), 0, 2)
		b.Records[1].Version = 3
		if _, err := log.Append(ctx, b); err == nil || errors.Is(err, eventstore.ErrOutcomeUnknown) {
			t.Errorf("append of versions 1 and 3: %v, want a definite error", err)
		}
		expectHead(ctx, t, log, b.Stream, eventstore.StreamHead{})
	}},
	{"an append with an ended context stores nothing", func(ctx context.Context, t T, log eventstore.Log) {
		stream := newStream()
		ended, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := log.Append(ended, batch(stream, 0, 1)); !errors.Is(err, context.Canceled) {
			t.Errorf("append: %v, want the context's error", err)
		}
		expectHead(ctx, t, log, stream, eventstore.StreamHead{})
	}},
}
