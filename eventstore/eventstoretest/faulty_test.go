package eventstoretest

import (
	"context"
	"errors"
	"iter"
	"runtime"
	"slices"
	"sync/atomic"

	"konto/events"
	"konto/eventstore"
)

// faulty is a log with some of its methods replaced.
type faulty struct {
	eventstore.Log
	append        func(context.Context, eventstore.Batch) (uint64, error)
	readStream    func(context.Context, events.Stream, uint64, int) ([]eventstore.Record, error)
	byStream      func(context.Context, events.Stream, uint64, int) ([]eventstore.Record, error)
	readAll       func(context.Context, uint64, int) ([]eventstore.Record, error)
	streamHead    func(context.Context, events.Stream) (eventstore.StreamHead, error)
	holder        func(context.Context, eventstore.ClaimKey) (events.Stream, error)
	claims        func(context.Context, eventstore.HeldClaim, int) ([]eventstore.HeldClaim, error)
	claimRule     func(context.Context) (eventstore.ClaimRule, error)
	replaceClaims func(context.Context, int, iter.Seq2[eventstore.HeldClaim, error]) error
	receipt       func(context.Context, eventstore.ReceiptKey) (events.Stream, []byte, error)
	head          func(context.Context) (uint64, error)
	wait          func(context.Context, uint64) error
	close         func() error
}

// broken returns a log without a fault. The caller replaces methods.
func broken(log eventstore.Log) *faulty {
	return &faulty{log, log.Append, log.ReadStream, log.ByStream, log.ReadAll, log.StreamHead, log.Holder, log.Claims, log.ClaimRule, log.ReplaceClaims, log.Receipt, log.Head, log.Wait, log.Close}
}

func (f *faulty) Append(ctx context.Context, b eventstore.Batch) (uint64, error) {
	return f.append(ctx, b)
}
func (f *faulty) ReadStream(ctx context.Context, stream events.Stream, after uint64, limit int) ([]eventstore.Record, error) {
	return f.readStream(ctx, stream, after, limit)
}
func (f *faulty) ByStream(ctx context.Context, stream events.Stream, after uint64, limit int) ([]eventstore.Record, error) {
	return f.byStream(ctx, stream, after, limit)
}
func (f *faulty) ReadAll(ctx context.Context, after uint64, limit int) ([]eventstore.Record, error) {
	return f.readAll(ctx, after, limit)
}
func (f *faulty) StreamHead(ctx context.Context, stream events.Stream) (eventstore.StreamHead, error) {
	return f.streamHead(ctx, stream)
}
func (f *faulty) Holder(ctx context.Context, key eventstore.ClaimKey) (events.Stream, error) {
	return f.holder(ctx, key)
}
func (f *faulty) Claims(ctx context.Context, after eventstore.HeldClaim, limit int) ([]eventstore.HeldClaim, error) {
	return f.claims(ctx, after, limit)
}
func (f *faulty) ClaimRule(ctx context.Context) (eventstore.ClaimRule, error) {
	return f.claimRule(ctx)
}
func (f *faulty) ReplaceClaims(ctx context.Context, rule int, held iter.Seq2[eventstore.HeldClaim, error]) error {
	return f.replaceClaims(ctx, rule, held)
}
func (f *faulty) Receipt(ctx context.Context, key eventstore.ReceiptKey) (events.Stream, []byte, error) {
	return f.receipt(ctx, key)
}
func (f *faulty) Head(ctx context.Context) (uint64, error)     { return f.head(ctx) }
func (f *faulty) Wait(ctx context.Context, after uint64) error { return f.wait(ctx, after) }
func (f *faulty) Close() error                                 { return f.close() }

// replaced returns a fault that replaces methods.
func replaced(replace func(f *faulty, log eventstore.Log)) func(eventstore.Log) eventstore.Log {
	return func(log eventstore.Log) eventstore.Log {
		f := broken(log)
		replace(f, log)
		return f
	}
}

// appends returns a fault that replaces Append.
func appends(do func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error)) func(eventstore.Log) eventstore.Log {
	return replaced(func(f *faulty, log eventstore.Log) {
		f.append = func(ctx context.Context, b eventstore.Batch) (uint64, error) { return do(ctx, log, b) }
	})
}

// anywhere appends b at the end of the stream, whatever its version is.
func anywhere(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
	for {
		head, err := log.StreamHead(ctx, b.Stream)
		if err != nil {
			return 0, err
		}
		b.Expected = head.Version
		b.Records = slices.Clone(b.Records)
		for i := range b.Records {
			b.Records[i].Version = head.Version + uint64(i) + 1
		}
		if last, err := log.Append(ctx, b); !errors.Is(err, eventstore.ErrConflict) {
			return last, err
		}
	}
}

// together returns a fault that replaces Append. alone is false while other appends are under
// way.
func together(do func(ctx context.Context, log eventstore.Log, b eventstore.Batch, alone bool) (uint64, error)) func(eventstore.Log) eventstore.Log {
	return func(log eventstore.Log) eventstore.Log {
		var under atomic.Int64
		return appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
			under.Add(1)
			defer under.Add(-1)
			for range 10 * racers { // lets the others begin
				runtime.Gosched()
			}
			return do(ctx, log, b, under.Load() == 1)
		})(log)
	}
}

func spoiled(records []eventstore.Record, err error, spoil func(*eventstore.Record)) ([]eventstore.Record, error) {
	for i := range records {
		spoil(&records[i])
	}
	return records, err
}
