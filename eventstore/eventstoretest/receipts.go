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
	{"a receipt exists after its append", func(ctx context.Context, t T, log eventstore.Log) {
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
	{"a batch with an existing receipt stores nothing", func(ctx context.Context, t T, log eventstore.Log) {
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
	{"an existing receipt is reported before any other refusal", func(ctx context.Context, t T, log eventstore.Log) {
		// A repeated append finds a later version and taken keys, because of the first append.
		key := newKey()
		first := leaving(batch(newStream(), 0, 1, take(key)), newReceipt())
		mustAppend(ctx, t, log, first)
		expectRepeated(ctx, t, log, first, first.Receipts[0].Key, first.Stream)
		again := leaving(batch(newStream(), 0, 1, take(key)), first.Receipts...)
		expectRepeated(ctx, t, log, again, first.Receipts[0].Key, first.Stream)
	}},
	{"a refused batch stores no receipt", func(ctx context.Context, t T, log eventstore.Log) {
		stream, key, r := newStream(), newKey(), newReceipt()
		mustAppend(ctx, t, log, batch(stream, 0, 1, take(key)))
		expectConflict(ctx, t, log, leaving(batch(stream, 0, 1), r), 1)
		expectTaken(ctx, t, log, leaving(batch(newStream(), 0, 1, take(key)), r), key, stream)
		expectReceipt(ctx, t, log, r.Key, "", nil)
		mustAppend(ctx, t, log, leaving(batch(stream, 1, 1), r))
	}},
	{"a batch without records may store receipts", func(ctx context.Context, t T, log eventstore.Log) {
		stream, r := newStream(), newReceipt()
		last := mustAppend(ctx, t, log, batch(stream, 0, 1))
		expectConflict(ctx, t, log, leaving(batch(stream, 0, 0), r), 1)
		if got := mustAppend(ctx, t, log, leaving(batch(stream, 1, 0), r)); got != 0 {
			t.Errorf("an append without records returned position %d, not 0", got)
		}
		expectReceipt(ctx, t, log, r.Key, stream, r.Data)
		expectHead(ctx, t, log, stream, eventstore.StreamHead{Version: 1, Position: last})
	}},
	{"an expired receipt has no effect", func(ctx context.Context, t T, log eventstore.Log) {
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
	{"exactly one of many appends with one receipt is stored", func(ctx context.Context, t T, log eventstore.Log) {
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

// newReceipt returns a receipt that does not expire while the suite runs.
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

// expectRepeated appends and expects an error with the existing receipt.
func expectRepeated(ctx context.Context, t T, log eventstore.Log, b eventstore.Batch, key eventstore.ReceiptKey, stream events.Stream) {
	t.Helper()
	_, err := log.Append(ctx, b)
	if repeated, ok := isRepeated(err); !ok {
		t.Errorf("append with an existing receipt: %v, want ErrRepeated", err)
	} else if want := (eventstore.Repeated{Key: key, Stream: stream}); *repeated != want {
		t.Errorf("the error says %+v, not %+v", *repeated, want)
	}
}

func isRepeated(err error) (repeated *eventstore.Repeated, ok bool) {
	ok = errors.As(err, &repeated) && errors.Is(err, eventstore.ErrRepeated)
	return repeated, ok
}

var dropping = []Check{
	{"a batch may drop the receipts of its stream", func(ctx context.Context, t T, log eventstore.Log) {
		stream, first, second := newStream(), newReceipt(), newReceipt()
		mustAppend(ctx, t, log, leaving(batch(stream, 0, 1), first))
		mustAppend(ctx, t, log, leaving(batch(stream, 1, 0), second))
		mustAppend(ctx, t, log, dropAll(batch(stream, 1, 1)))
		expectReceipt(ctx, t, log, first.Key, "", nil)
		expectReceipt(ctx, t, log, second.Key, "", nil)
		// The keys are free again.
		mustAppend(ctx, t, log, leaving(batch(stream, 2, 1), first))
		expectReceipt(ctx, t, log, first.Key, stream, first.Data)
	}},
	{"receipts of other streams stay when those of one are dropped", func(ctx context.Context, t T, log eventstore.Log) {
		stream, other, kept := newStream(), newStream(), newReceipt()
		mustAppend(ctx, t, log, leaving(batch(stream, 0, 1), newReceipt()))
		mustAppend(ctx, t, log, leaving(batch(other, 0, 1), kept))
		mustAppend(ctx, t, log, dropAll(batch(stream, 1, 1)))
		expectReceipt(ctx, t, log, kept.Key, other, kept.Data)
	}},
	{"a refused batch drops no receipts", func(ctx context.Context, t T, log eventstore.Log) {
		stream, holder, key, kept := newStream(), newStream(), newKey(), newReceipt()
		mustAppend(ctx, t, log, leaving(batch(stream, 0, 1), kept))
		mustAppend(ctx, t, log, batch(holder, 0, 1, take(key)))
		expectConflict(ctx, t, log, dropAll(batch(stream, 0, 1)), 1)
		expectTaken(ctx, t, log, dropAll(batch(stream, 1, 1, take(key))), key, holder)
		expectReceipt(ctx, t, log, kept.Key, stream, kept.Data)
	}},
	{"a batch without records may drop receipts", func(ctx context.Context, t T, log eventstore.Log) {
		stream, gone := newStream(), newReceipt()
		last := mustAppend(ctx, t, log, leaving(batch(stream, 0, 1), gone))
		mustAppend(ctx, t, log, dropAll(batch(stream, 1, 0)))
		expectReceipt(ctx, t, log, gone.Key, "", nil)
		expectHead(ctx, t, log, stream, eventstore.StreamHead{Version: 1, Position: last})
	}},
}

func dropAll(b eventstore.Batch) eventstore.Batch {
	b.DropReceipts = true
	return b
}
