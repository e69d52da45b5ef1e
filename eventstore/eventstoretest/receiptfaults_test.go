package eventstoretest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"konto/events"
	"konto/eventstore"
)

// receiptFaults are faults as well; see faults.
var receiptFaults = map[string]fault{
	"forgets receipts": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		b.Receipts = nil
		return log.Append(ctx, b)
	}), "a receipt is there from its append on"},
	"leaves a batch's first receipt alone": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		b.Receipts = b.Receipts[:min(1, len(b.Receipts))]
		return log.Append(ctx, b)
	}), "a receipt is there from its append on"},
	"finds receipts of nobody": {replaced(func(f *faulty, log eventstore.Log) {
		f.receipt = func(ctx context.Context, key eventstore.ReceiptKey) (events.Stream, []byte, error) {
			stream, data, err := log.Receipt(ctx, key)
			if stream == "" {
				stream = newStream()
			}
			return stream, data, err
		}
	}), "a receipt is there from its append on"},
	"stores what was appended before": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		last, err := log.Append(ctx, b)
		if errors.Is(err, eventstore.ErrRepeated) {
			b.Receipts = nil
			_, broken := log.Append(ctx, b)
			err = errors.Join(err, broken)
		}
		return last, err
	}), "of a batch whose receipt is there nothing is stored"},
	"forgets who left a receipt": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		last, err := log.Append(ctx, b)
		var repeated *eventstore.Repeated
		if errors.As(err, &repeated) {
			repeated.Stream = b.Stream
		}
		return last, err
	}), "of a batch whose receipt is there nothing is stored"},
	"looks at versions before receipts": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		head, err := log.StreamHead(ctx, b.Stream)
		if err == nil && head.Version != b.Expected {
			return 0, &eventstore.VersionConflict{Stream: b.Stream, Expected: b.Expected, Actual: head.Version}
		}
		return log.Append(ctx, b)
	}), "a receipt that is there is told of before all else"},
	"looks at claims before receipts": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		for _, op := range b.Claims {
			if holder, err := log.Holder(ctx, op.Key); err == nil && holder != "" && holder != b.Stream && !op.Release {
				return 0, &eventstore.ClaimTaken{Key: op.Key, Holder: holder}
			}
		}
		return log.Append(ctx, b)
	}), "a receipt that is there is told of before all else"},
	"leaks the receipts of a refused batch": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		last, err := log.Append(ctx, b)
		if errors.Is(err, eventstore.ErrConflict) || errors.Is(err, eventstore.ErrTaken) {
			_, broken := anywhere(ctx, log, eventstore.Batch{Stream: b.Stream, Receipts: b.Receipts})
			err = errors.Join(err, broken)
		}
		return last, err
	}), "a refused batch leaves no receipt"},
	"leaves receipts only beside records": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		if len(b.Records) == 0 {
			b.Receipts = nil
		}
		return log.Append(ctx, b)
	}), "a batch may leave receipts alone"},
	"checks no version when only receipts are left": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		if len(b.Records) == 0 && len(b.Claims) == 0 {
			return anywhere(ctx, log, b)
		}
		return log.Append(ctx, b)
	}), "a batch may leave receipts alone"},
	"keeps receipts for ever": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		b.Receipts = slices.Clone(b.Receipts)
		for i := range b.Receipts {
			b.Receipts[i].Expires = b.Receipts[i].Expires.Add(24 * time.Hour)
		}
		return log.Append(ctx, b)
	}), "a receipt that has expired counts for nothing"},
	"keeps the first data of a receipt": {replaced(func(f *faulty, log eventstore.Log) {
		var kept sync.Map
		f.append = func(ctx context.Context, b eventstore.Batch) (uint64, error) {
			b.Receipts = slices.Clone(b.Receipts)
			for i, r := range b.Receipts {
				data, _ := kept.LoadOrStore(r.Key, r.Data)
				b.Receipts[i].Data = data.([]byte)
			}
			return log.Append(ctx, b)
		}
	}), "a receipt that has expired counts for nothing"},
	"keeps the caller's bytes of a receipt": {replaced(func(f *faulty, log eventstore.Log) {
		var kept sync.Map
		f.append = func(ctx context.Context, b eventstore.Batch) (uint64, error) {
			for _, r := range b.Receipts {
				kept.Store(r.Key, r.Data)
			}
			return log.Append(ctx, b)
		}
		f.receipt = func(ctx context.Context, key eventstore.ReceiptKey) (events.Stream, []byte, error) {
			stream, _, err := log.Receipt(ctx, key)
			if data, ok := kept.Load(key); ok && stream != "" {
				return stream, data.([]byte), err
			}
			return stream, nil, err
		}
	}), "the log shares no memory of receipts with its callers"},
	"lets two leave a receipt at once": {together(func(ctx context.Context, log eventstore.Log, b eventstore.Batch, alone bool) (uint64, error) {
		last, err := log.Append(ctx, b)
		if errors.Is(err, eventstore.ErrRepeated) && !alone {
			b.Receipts = nil
			return log.Append(ctx, b)
		}
		return last, err
	}), "of many appends with one receipt exactly one is stored"},
}
