package eventstoretest

import (
	"context"
	"errors"
	"sync"

	"konto/eventstore"
	"konto/eventstore/memory"
)

// nodeFaults are faults of one of two logs that are open on one store.
var nodeFaults = map[string]fault{
	"has a store of its own": {func(eventstore.Log) eventstore.Log { return memory.New() },
		"a node reads what another node stored before"},
	"reads records in another order": {replaced(func(f *faulty, log eventstore.Log) {
		f.readAll = func(ctx context.Context, after uint64, limit int) ([]eventstore.Record, error) {
			records, err := log.ReadAll(ctx, after, limit)
			if len(records) > 1 {
				records[0], records[1] = records[1], records[0]
			}
			return records, err
		}
	}), "all nodes read the same records in one order without gaps"},
	"knows only its own appends as the head": {replaced(func(f *faulty, log eventstore.Log) {
		f.head = func(ctx context.Context) (uint64, error) { return 0, nil }
	}), "a node reads what another node stored before"},
	"caches versions": {replaced(func(f *faulty, log eventstore.Log) {
		var versions sync.Map
		f.append = func(ctx context.Context, b eventstore.Batch) (uint64, error) {
			last, err := log.Append(ctx, b)
			if known, ok := versions.Load(b.Stream); ok && errors.Is(err, eventstore.ErrConflict) && known == b.Expected {
				return anywhere(ctx, log, b)
			}
			versions.Store(b.Stream, b.Expected+uint64(len(b.Records)))
			return last, err
		}
	}), "a version that another node stored is a conflict"},
	"knows only its own claims": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		last, err := log.Append(ctx, b)
		if errors.Is(err, eventstore.ErrTaken) {
			b.Claims = nil
			return log.Append(ctx, b)
		}
		return last, err
	}), "a key that another node took is taken until it is released"},
	"knows only its own receipts": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		last, err := log.Append(ctx, b)
		if errors.Is(err, eventstore.ErrRepeated) {
			b.Receipts, b.Stream = nil, newStream()
			for i := range b.Records {
				b.Records[i].Stream = b.Stream
			}
			return log.Append(ctx, b)
		}
		return last, err
	}), "a receipt that another node stored is repeated"},
	"checks versions before it locks the store": {together(func(ctx context.Context, log eventstore.Log, b eventstore.Batch, alone bool) (uint64, error) {
		if alone {
			return log.Append(ctx, b)
		}
		return anywhere(ctx, log, b)
	}), "exactly one of many appends on two nodes is stored"},
	"wakes only for its own appends": {replaced(func(f *faulty, log eventstore.Log) {
		f.wait = func(ctx context.Context, after uint64) error {
			if head, err := log.Head(ctx); err != nil || head > after {
				return err
			}
			<-ctx.Done()
			return ctx.Err()
		}
	}), "an append wakes who waits on another node"},
}
