package eventstoretest

import (
	"bytes"
	"context"
	"errors"
	"time"

	"konto/events"
	"konto/eventstore"
)

var receipting = []Check{
	{"a receipt is there from its append on", func(ctx context.Context, t T, log eventstore.Log) {
		b := batch(newStream(), 0, 1)
		b.Receipts = []eventstore.Receipt{newReceipt(), newReceipt()}
		b.Receipts[1].Data = nil
		expectReceipt(ctx, t, log, b.Receipts[0].Key, "", nil)
		mustAppend(ctx, t, log, b)
		for _, r := range b.Receipts {
			expectReceipt(ctx, t, log, r.Key, b.Stream, r.Data)
		}
		expectReceipt(ctx, t, log, newReceipt().Key, "", nil)
	}},
	{"of a batch whose receipt is there nothing is stored", func(ctx context.Context, t T, log eventstore.Log) {
		first := leaving(batch(newStream(), 0, 1), newReceipt())
		last := mustAppend(ctx, t, log, first)
		same, other, key := first.Receipts[0], newReceipt(), newKey()
		same.Data = []byte("another")
		expectRepeated(ctx, t, log, leaving(batch(newStream(), 0, 1, take(key)), other, same), same.Key, first.Stream)
		expectRepeated(ctx, t, log, leaving(batch(first.Stream, 1, 1, take(key)), same), same.Key, first.Stream)
		expectReceipt(ctx, t, log, same.Key, first.Stream, first.Receipts[0].Data)
		expectReceipt(ctx, t, log, other.Key, "", nil)
		expectHolder(ctx, t, log, key, "")
		expectRecords(t, "the feed", feed(ctx, t, log, last), first.Records)
	}},
	{"a receipt that is there is told of before all else", func(ctx context.Context, t T, log eventstore.Log) {
		// Whoever repeats an append finds the stream moved on and keys taken, by
		// that very append.
		key := newKey()
		first := leaving(batch(newStream(), 0, 1, take(key)), newReceipt())
		mustAppend(ctx, t, log, first)
		expectRepeated(ctx, t, log, first, first.Receipts[0].Key, first.Stream)
		again := leaving(batch(newStream(), 0, 1, take(key)), first.Receipts...)
		expectRepeated(ctx, t, log, again, first.Receipts[0].Key, first.Stream)
	}},
	{"a refused batch leaves no receipt", func(ctx context.Context, t T, log eventstore.Log) {
		stream, key, r := newStream(), newKey(), newReceipt()
		mustAppend(ctx, t, log, batch(stream, 0, 1, take(key)))
		expectConflict(ctx, t, log, leaving(batch(stream, 0, 1), r), 1)
		expectTaken(ctx, t, log, leaving(batch(newStream(), 0, 1, take(key)), r), key, stream)
		expectReceipt(ctx, t, log, r.Key, "", nil)
		mustAppend(ctx, t, log, leaving(batch(stream, 1, 1), r))
	}},
	{"a batch may leave receipts alone", func(ctx context.Context, t T, log eventstore.Log) {
		stream, r := newStream(), newReceipt()
		last := mustAppend(ctx, t, log, batch(stream, 0, 1))
		expectConflict(ctx, t, log, leaving(batch(stream, 0, 0), r), 1)
		if got := mustAppend(ctx, t, log, leaving(batch(stream, 1, 0), r)); got != 0 {
			t.Errorf("an append without records returned position %d, not 0", got)
		}
		expectReceipt(ctx, t, log, r.Key, stream, r.Data)
		expectHead(ctx, t, log, stream, eventstore.StreamHead{Version: 1, Position: last})
	}},
	{"a receipt that has expired counts for nothing", func(ctx context.Context, t T, log eventstore.Log) {
		stream, r := newStream(), newReceipt()
		expired := r
		expired.Expires = r.Expires.Add(-2 * time.Hour)
		mustAppend(ctx, t, log, leaving(batch(stream, 0, 1), expired))
		expectReceipt(ctx, t, log, r.Key, "", nil)
		other := leaving(batch(newStream(), 0, 1), r)
		other.Receipts[0].Data = []byte("another")
		mustAppend(ctx, t, log, other)
		expectReceipt(ctx, t, log, r.Key, other.Stream, []byte("another"))
	}},
	{"the log shares no memory of receipts with its callers", func(ctx context.Context, t T, log eventstore.Log) {
		b := leaving(batch(newStream(), 0, 1), newReceipt())
		key, want := b.Receipts[0].Key, bytes.Clone(b.Receipts[0].Data)
		mustAppend(ctx, t, log, b)
		clear(b.Receipts[0].Data)
		_, read, _ := log.Receipt(ctx, key)
		clear(read)
		expectReceipt(ctx, t, log, key, b.Stream, want)
	}},
	{"of many appends with one receipt exactly one is stored", func(ctx context.Context, t T, log eventstore.Log) {
		for range 5 {
			r := newReceipt()
			won := race(t, func(int) error {
				_, err := log.Append(ctx, leaving(batch(newStream(), 0, 1), r))
				return err
			}, func(err error) bool {
				repeated, ok := isRepeated(err)
				return ok && repeated.Key == r.Key && repeated.Stream != ""
			})
			if won != 1 {
				t.Fatalf("%d of %d appends with one receipt were stored", won, racers)
			}
		}
	}},
}

// newReceipt is one that does not expire while the suite runs.
func newReceipt() eventstore.Receipt {
	return eventstore.Receipt{
		Key:  eventstore.ReceiptKey(newKey()),
		Data: []byte{0, 0xff, '\''}, Expires: time.Now().UTC().Truncate(time.Millisecond).Add(time.Hour),
	}
}

func leaving(b eventstore.Batch, receipts ...eventstore.Receipt) eventstore.Batch {
	b.Receipts = append(b.Receipts, receipts...)
	return b
}

func expectReceipt(ctx context.Context, t T, log eventstore.Log, key eventstore.ReceiptKey, stream events.Stream, data []byte) {
	t.Helper()
	if gotStream, gotData, err := log.Receipt(ctx, key); err != nil || gotStream != stream || !bytes.Equal(gotData, data) {
		t.Errorf("receipt is of %q, %q, %v; want %q, %q", gotStream, gotData, err, stream, data)
	}
}

// expectRepeated appends and wants to hear of the receipt that is there.
func expectRepeated(ctx context.Context, t T, log eventstore.Log, b eventstore.Batch, key eventstore.ReceiptKey, stream events.Stream) {
	t.Helper()
	_, err := log.Append(ctx, b)
	if repeated, ok := isRepeated(err); !ok {
		t.Errorf("append with a receipt that is there: %v, want that it is repeated", err)
	} else if want := (eventstore.Repeated{Key: key, Stream: stream}); *repeated != want {
		t.Errorf("the error says %+v, not %+v", *repeated, want)
	}
}

func isRepeated(err error) (repeated *eventstore.Repeated, ok bool) {
	ok = errors.As(err, &repeated) && errors.Is(err, eventstore.ErrRepeated)
	return repeated, ok
}
