package eventstoretest

import (
	"context"
	"errors"
	"slices"
	"sync"

	"konto/events"
	"konto/eventstore"
)

// listingFaults are faults as well, in what erasure and verification need; see faults.
var listingFaults = map[string]fault{
	"lists claims backwards": {claims(func(ctx context.Context, log eventstore.Log, after eventstore.HeldClaim, limit int) ([]eventstore.HeldClaim, error) {
		held, err := log.Claims(ctx, after, limit)
		slices.Reverse(held)
		return held, err
	}), "the keys that are held are listed in their order"},
	"lists claims without their holders": {claims(func(ctx context.Context, log eventstore.Log, after eventstore.HeldClaim, limit int) ([]eventstore.HeldClaim, error) {
		held, err := log.Claims(ctx, after, limit)
		for i := range held {
			held[i].Stream = ""
		}
		return held, err
	}), "the keys that are held are listed in their order"},
	"begins a page of claims anew": {claims(func(ctx context.Context, log eventstore.Log, _ eventstore.HeldClaim, limit int) ([]eventstore.HeldClaim, error) {
		return log.Claims(ctx, eventstore.HeldClaim{}, limit)
	}), "held keys are listed in pages"},
	"lists all claims at once": {claims(func(ctx context.Context, log eventstore.Log, after eventstore.HeldClaim, limit int) ([]eventstore.HeldClaim, error) {
		return log.Claims(ctx, after, 1000)
	}), "held keys are listed in pages"},
	"lists what was given up": {replaced(func(f *faulty, log eventstore.Log) {
		var mu sync.Mutex
		var taken []eventstore.HeldClaim
		f.append = func(ctx context.Context, b eventstore.Batch) (uint64, error) {
			mu.Lock()
			defer mu.Unlock()
			for _, op := range b.Claims {
				if !op.Release {
					taken = append(taken, eventstore.HeldClaim{Key: op.Key, Stream: b.Stream})
				}
			}
			return log.Append(ctx, b)
		}
		f.claims = func(context.Context, eventstore.HeldClaim, int) ([]eventstore.HeldClaim, error) {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(taken), nil
		}
	}), "a key that was given up is not listed"},
	"keeps receipts that are dropped": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		b.DropReceipts = false
		return log.Append(ctx, b)
	}), "a batch may drop the receipts of its stream"},
	"drops receipts only beside records": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		b.DropReceipts = b.DropReceipts && len(b.Records) > 0
		return log.Append(ctx, b)
	}), "a batch may drop receipts alone"},
	"drops everybody's receipts": {replaced(func(f *faulty, log eventstore.Log) {
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

// claims replaces Claims.
func claims(do func(ctx context.Context, log eventstore.Log, after eventstore.HeldClaim, limit int) ([]eventstore.HeldClaim, error)) func(eventstore.Log) eventstore.Log {
	return replaced(func(f *faulty, log eventstore.Log) {
		f.claims = func(ctx context.Context, after eventstore.HeldClaim, limit int) ([]eventstore.HeldClaim, error) {
			return do(ctx, log, after, limit)
		}
	})
}
