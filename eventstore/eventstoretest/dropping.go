package eventstoretest

import (
	"context"

	"konto/eventstore"
)

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
	{"a batch may drop receipts alone", func(ctx context.Context, t T, log eventstore.Log) {
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
