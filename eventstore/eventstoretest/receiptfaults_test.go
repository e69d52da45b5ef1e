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

// receiptFaults are more faults, in how receipts are stored; see faults.
var receiptFaults = map[string]fault{
	"loses receipts": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		b.Receipts = nil
		return log.Append(ctx, b)
	}), "a receipt exists after its append"},
	"stores only the first receipt of a batch": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		b.Receipts = b.Receipts[:min(1, len(b.Receipts))]
		return log.Append(ctx, b)
	}), "a receipt exists after its append"},
	"finds receipts that do not exist": {replaced(func(f *faulty, log eventstore.Log) {
		f.receipt = func(ctx context.Context, key eventstore.ReceiptKey) (events.Stream, []byte, error) {
			stream, data, err := log.Receipt(ctx, key)
			if stream == "" {
				stream = newStream()
			}
			return stream, data, err
		}
	}), "a receipt exists after its append"},
	"stores a repeated append": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		last, err := log.Append(ctx, b)
		if errors.Is(err, eventstore.ErrRepeated) {
			b.Receipts = nil
			_, broken := log.Append(ctx, b)
			err = errors.Join(err, broken)
		}
		return last, err
	}), "a batch with an existing receipt stores nothing"},
	"loses the stream of a receipt": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		last, err := log.Append(ctx, b)
		var repeated *eventstore.Repeated
		if errors.As(err, &repeated) {
			repeated.Stream = b.Stream
		}
		return last, err
	}), "a batch with an existing receipt stores nothing"},
	"checks versions before receipts": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		head, err := log.StreamHead(ctx, b.Stream)
		if err == nil && head.Version != b.Expected {
			return 0, &eventstore.VersionConflict{Stream: b.Stream, Expected: b.Expected, Actual: head.Version}
		}
		return log.Append(ctx, b)
	}), "an existing receipt is reported before any other refusal"},
	"checks claims before receipts": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		for _, op := range b.Claims {
			if holder, err := log.Holder(ctx, op.Key); err == nil && holder != "" && holder != b.Stream && !op.Release {
				return 0, &eventstore.ClaimTaken{Key: op.Key, Holder: holder}
			}
		}
		return log.Append(ctx, b)
	}), "an existing receipt is reported before any other refusal"},
	"stores the receipts of a refused batch": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		last, err := log.Append(ctx, b)
		if errors.Is(err, eventstore.ErrConflict) || errors.Is(err, eventstore.ErrTaken) {
			_, broken := anywhere(ctx, log, eventstore.Batch{Stream: b.Stream, Receipts: b.Receipts})
			err = errors.Join(err, broken)
		}
		return last, err
	}), "a refused batch stores no receipt"},
	"stores receipts only with records": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		if len(b.Records) == 0 {
			b.Receipts = nil
		}
		return log.Append(ctx, b)
	}), "a batch without records may store receipts"},
	"checks no version when only receipts are stored": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		if len(b.Records) == 0 && len(b.Claims) == 0 {
			return anywhere(ctx, log, b)
		}
		return log.Append(ctx, b)
	}), "a batch without records may store receipts"},
	"never expires receipts": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		b.Receipts = slices.Clone(b.Receipts)
		for i := range b.Receipts {
			b.Receipts[i].Expires = b.Receipts[i].Expires.Add(24 * time.Hour)
		}
		return log.Append(ctx, b)
	}), "an expired receipt has no effect"},
	"keeps the data of an expired receipt": {replaced(func(f *faulty, log eventstore.Log) {
		var kept sync.Map
		f.append = func(ctx context.Context, b eventstore.Batch) (uint64, error) {
			b.Receipts = slices.Clone(b.Receipts)
			for i, r := range b.Receipts {
				data, _ := kept.LoadOrStore(r.Key, r.Data)
				b.Receipts[i].Data = data.([]byte)
			}
			return log.Append(ctx, b)
		}
	}), "an expired receipt has no effect"},
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
	"lets two appends store a receipt at once": {together(func(ctx context.Context, log eventstore.Log, b eventstore.Batch, alone bool) (uint64, error) {
		last, err := log.Append(ctx, b)
		if errors.Is(err, eventstore.ErrRepeated) && !alone {
			b.Receipts = nil
			return log.Append(ctx, b)
		}
		return last, err
	}), "exactly one of many appends with one receipt is stored"},
	"keeps receipts that are dropped": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		b.DropReceipts = false
		return log.Append(ctx, b)
	}), "a batch may drop the receipts of its stream"},
	"drops receipts only with records": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		b.DropReceipts = b.DropReceipts && len(b.Records) > 0
		return log.Append(ctx, b)
	}), "a batch without records may drop receipts"},
	"drops the receipts of all streams": {replaced(func(f *faulty, log eventstore.Log) {
		var mu sync.Mutex
		var streams []events.Stream
		f.append = func(ctx context.Context, b eventstore.Batch) (uint64, error) {
			mu.Lock()
			defer mu.Unlock()
			last, err := log.Append(ctx, b)
			if streams = append(streams, b.Stream); err != nil || !b.DropReceipts {
				return last, err
			}
			for _, stream := range streams {
				if _, err := anywhere(ctx, log, eventstore.Batch{Stream: stream, DropReceipts: true}); err != nil {
					return 0, err
				}
			}
			return last, nil
		}
	}), "receipts of other streams stay when those of one are dropped"},
	"drops the receipts of a refused batch's stream": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		last, err := log.Append(ctx, b)
		if b.DropReceipts && (errors.Is(err, eventstore.ErrConflict) || errors.Is(err, eventstore.ErrTaken)) {
			_, broken := anywhere(ctx, log, eventstore.Batch{Stream: b.Stream, DropReceipts: true})
			err = errors.Join(err, broken)
		}
		return last, err
	}), "a refused batch drops no receipts"},
}
