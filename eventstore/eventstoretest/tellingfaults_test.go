package eventstoretest

import (
	"context"
	"runtime"

	"konto/eventstore"
)

// tellingFaults are faults as well, in who is told of what was stored; see faults.
var tellingFaults = map[string]fault{
	"tells of records late": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		tell := b.Stored
		b.Stored = nil
		last, err := log.Append(ctx, b)
		if err == nil && tell != nil && len(b.Records) > 0 {
			for range 10 * racers { // lets those who wait for them come this far
				runtime.Gosched()
			}
			tell(last)
		}
		return last, err
	}), "who asked is told of what was stored, once, before Wait tells of it"},
	"tells twice": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		if tell := b.Stored; tell != nil {
			b.Stored = func(last uint64) { tell(last); tell(last) }
		}
		return log.Append(ctx, b)
	}), "who asked is told of what was stored, once, before Wait tells of it"},
	"tells of what it refuses": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		last, err := log.Append(ctx, b)
		if err != nil && b.Stored != nil {
			b.Stored(last)
		}
		return last, err
	}), "nobody is told of what was not stored"},
	"tells of no records": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		last, err := log.Append(ctx, b)
		if err == nil && b.Stored != nil && len(b.Records) == 0 {
			b.Stored(last)
		}
		return last, err
	}), "nobody is told of what was not stored"},
}
