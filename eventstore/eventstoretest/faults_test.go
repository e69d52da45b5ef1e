package eventstoretest

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"konto/events"
	"konto/eventstore"
)

// fault makes a log wrong in one way. caughtBy is the check for it.
type fault struct {
	in       func(eventstore.Log) eventstore.Log
	caughtBy string
}

var faults = map[string]fault{
	"ignores the expected version": {appends(anywhere),
		"another version than expected is a conflict that names the actual one"},
	"checks the version before it locks": {together(func(ctx context.Context, log eventstore.Log, b eventstore.Batch, alone bool) (uint64, error) {
		if alone {
			return log.Append(ctx, b)
		}
		return anywhere(ctx, log, b)
	}), "exactly one of many appends at one version is stored"},
	"reports conflicts that do not exist": {together(func(ctx context.Context, log eventstore.Log, b eventstore.Batch, alone bool) (uint64, error) {
		if alone {
			return log.Append(ctx, b)
		}
		return 0, &eventstore.VersionConflict{Stream: b.Stream, Expected: b.Expected, Actual: b.Expected + 1}
	}), "appends that retry after a conflict are each stored once"},
	"has one version for all streams": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		if head, err := log.Head(ctx); err != nil || head != b.Expected {
			return 0, errors.Join(err, &eventstore.VersionConflict{Stream: b.Stream, Expected: b.Expected, Actual: head})
		}
		return anywhere(ctx, log, b)
	}), "streams have versions of their own"},
	"loses the error's type": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		last, err := log.Append(ctx, b)
		for _, sentinel := range []error{eventstore.ErrConflict, eventstore.ErrTaken} {
			if errors.Is(err, sentinel) {
				err = sentinel
			}
		}
		return last, err
	}), "another version than expected is a conflict that names the actual one"},
	"stores half a batch": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		b.Records = b.Records[:(len(b.Records)+1)/2]
		return log.Append(ctx, b)
	}), "a batch is stored whole"},
	"returns the first position": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		last, err := log.Append(ctx, b)
		return last - uint64(max(0, len(b.Records)-1)), err
	}), "the positions of one append are consecutive and end with the returned one"},
	"stores a wrong batch": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		for i := range b.Records {
			b.Records[i].Version = b.Expected + uint64(i) + 1
		}
		return log.Append(ctx, b)
	}), "an invalid batch is refused"},
	"ignores the context": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		return log.Append(context.WithoutCancel(ctx), b)
	}), "an append with an ended context stores nothing"},
	"rounds times": {replaced(func(f *faulty, log eventstore.Log) {
		f.readAll = func(ctx context.Context, after uint64, limit int) ([]eventstore.Record, error) {
			records, err := log.ReadAll(ctx, after, limit)
			return spoiled(records, err, func(r *eventstore.Record) { r.Time = r.Time.Truncate(time.Second) })
		}
	}), "records are read as they were appended, to the byte and the millisecond"},
	"returns local times": {replaced(func(f *faulty, log eventstore.Log) {
		f.readStream = func(ctx context.Context, stream events.Stream, after uint64, limit int) ([]eventstore.Record, error) {
			records, err := log.ReadStream(ctx, stream, after, limit)
			return spoiled(records, err, func(r *eventstore.Record) { r.Time = r.Time.In(time.FixedZone("CET", 3600)) })
		}
	}), "records are read as they were appended, to the byte and the millisecond"},
	"cuts data at a zero": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		b.Records = slices.Clone(b.Records)
		for i, r := range b.Records {
			b.Records[i].Data = r.Data[:max(0, slices.Index(r.Data, 0))]
		}
		return log.Append(ctx, b)
	}), "records are read as they were appended, to the byte and the millisecond"},
	"keeps the caller's bytes": {replaced(func(f *faulty, log eventstore.Log) {
		var kept sync.Map
		f.append = func(ctx context.Context, b eventstore.Batch) (uint64, error) {
			for _, r := range b.Records {
				kept.Store(r.ID, r.Data)
			}
			return log.Append(ctx, b)
		}
		f.readStream = func(ctx context.Context, stream events.Stream, after uint64, limit int) ([]eventstore.Record, error) {
			records, err := log.ReadStream(ctx, stream, after, limit)
			return spoiled(records, err, func(r *eventstore.Record) {
				data, _ := kept.Load(r.ID)
				r.Data = data.([]byte)
			})
		}
	}), "the log shares no memory with its callers"},
	"returns its own bytes": {replaced(func(f *faulty, log eventstore.Log) {
		var kept sync.Map
		f.readAll = func(ctx context.Context, after uint64, limit int) ([]eventstore.Record, error) {
			records, err := log.ReadAll(ctx, after, limit)
			return spoiled(records, err, func(r *eventstore.Record) {
				data, _ := kept.LoadOrStore(r.Position, r.Data)
				r.Data = data.([]byte)
			})
		}
	}), "the log shares no memory with its callers"},
	"loses claims": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		b.Claims = nil
		return log.Append(ctx, b)
	}), "a stream holds a key until it releases it"},
	"stores the claims of a refused batch": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		for _, op := range b.Claims {
			if _, err := anywhere(ctx, log, eventstore.Batch{Stream: b.Stream, Claims: []eventstore.ClaimOp{op}}); err != nil {
				break
			}
		}
		return log.Append(ctx, b)
	}), "a batch refused for its version stores no claims"},
	"stores the records of a batch whose claim is refused": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		last, err := log.Append(ctx, b)
		if errors.Is(err, eventstore.ErrTaken) {
			b.Claims = nil
			_, broken := log.Append(ctx, b)
			err = errors.Join(err, broken)
		}
		return last, err
	}), "a batch refused for a claim stores no records and no claims"},
	"gives a key to whoever asks next": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		last, err := log.Append(ctx, b)
		var taken *eventstore.ClaimTaken
		if errors.As(err, &taken) {
			if _, err := anywhere(ctx, log, eventstore.Batch{Stream: taken.Holder, Claims: []eventstore.ClaimOp{release(taken.Key)}}); err != nil {
				return 0, err
			}
			return log.Append(ctx, b)
		}
		return last, err
	}), "taking another stream's key is refused and names the holder"},
	"lets two take a key at once": {together(func(ctx context.Context, log eventstore.Log, b eventstore.Batch, alone bool) (uint64, error) {
		last, err := log.Append(ctx, b)
		if errors.Is(err, eventstore.ErrTaken) && !alone {
			b.Claims = nil
			return log.Append(ctx, b)
		}
		return last, err
	}), "exactly one of many streams takes a key"},
	"refuses a key that the stream holds": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		for _, op := range b.Claims {
			if holder, err := log.Holder(ctx, op.Key); err == nil && holder != "" && !op.Release {
				return 0, &eventstore.ClaimTaken{Key: op.Key, Holder: holder}
			}
		}
		return log.Append(ctx, b)
	}), "taking a key again has no effect"},
	"releases any stream's key": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		for _, op := range b.Claims {
			holder, err := log.Holder(ctx, op.Key)
			if err == nil && holder != "" && op.Release {
				if _, err := anywhere(ctx, log, eventstore.Batch{Stream: holder, Claims: []eventstore.ClaimOp{op}}); err != nil {
					return 0, err
				}
			}
		}
		return log.Append(ctx, b)
	}), "releasing another stream's key has no effect"},
	"accepts a release of another stream's key": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		last, err := log.Append(ctx, b)
		var taken *eventstore.ClaimTaken
		if errors.As(err, &taken) && slices.Contains(b.Claims, release(taken.Key)) {
			b.Claims = nil
			return log.Append(ctx, b)
		}
		return last, err
	}), "releasing another stream's key does not make it available"},
	"takes keys before it releases keys": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		b.Claims = slices.Clone(b.Claims)
		slices.SortStableFunc(b.Claims, func(x, y eventstore.ClaimOp) int {
			switch {
			case x.Release == y.Release:
				return 0
			case x.Release:
				return 1
			}
			return -1
		})
		return log.Append(ctx, b)
	}), "claims of a batch are applied in order"},
	"checks no version when only claims change": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		if len(b.Records) == 0 {
			return anywhere(ctx, log, b)
		}
		return log.Append(ctx, b)
	}), "a batch without records may change claims"},
	"ignores claims of a stream without records": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		if len(b.Records) == 0 && b.Expected == 0 {
			return 0, nil
		}
		return log.Append(ctx, b)
	}), "a stream without records may hold a key"},
	"has records from the start": {replaced(func(f *faulty, log eventstore.Log) {
		if _, err := log.Append(context.Background(), batch(newStream(), 0, 1)); err != nil {
			panic(err)
		}
	}), "an empty log reads as empty"},
	"leaves the position out of stream heads": {replaced(func(f *faulty, log eventstore.Log) {
		f.streamHead = func(ctx context.Context, stream events.Stream) (eventstore.StreamHead, error) {
			head, err := log.StreamHead(ctx, stream)
			return eventstore.StreamHead{Version: head.Version}, err
		}
	}), "an append creates a stream and extends it"},
	"treats no limit as unlimited": {replaced(func(f *faulty, log eventstore.Log) {
		f.readStream = func(ctx context.Context, stream events.Stream, after uint64, limit int) ([]eventstore.Record, error) {
			if limit <= 0 {
				limit = 1000
			}
			return log.ReadStream(ctx, stream, after, limit)
		}
	}), "a stream is read in pages, in order"},
	"reads all streams in the order of the log": {replaced(func(f *faulty, log eventstore.Log) {
		f.byStream = func(ctx context.Context, stream events.Stream, after uint64, limit int) ([]eventstore.Record, error) {
			records, err := log.ByStream(ctx, stream, after, limit)
			slices.SortFunc(records, func(a, b eventstore.Record) int { return cmp.Compare(a.Position, b.Position) })
			return records, err
		}
	}), "all streams are read in pages, one after the other"},
	"skips the rest of a stream at the end of a page": {replaced(func(f *faulty, log eventstore.Log) {
		f.byStream = func(ctx context.Context, stream events.Stream, after uint64, limit int) ([]eventstore.Record, error) {
			if after > 0 {
				after = math.MaxUint64
			}
			return log.ByStream(ctx, stream, after, limit)
		}
	}), "all streams are read in pages, one after the other"},
	"repeats a record at the start of a page": {replaced(func(f *faulty, log eventstore.Log) {
		f.readAll = func(ctx context.Context, after uint64, limit int) ([]eventstore.Record, error) {
			return log.ReadAll(ctx, max(after, 1)-1, limit)
		}
	}), "the feed is read in pages, in the order of positions"},
	"leaves gaps in positions": {replaced(func(f *faulty, log eventstore.Log) {
		f.readAll = func(ctx context.Context, after uint64, limit int) ([]eventstore.Record, error) {
			records, err := log.ReadAll(ctx, after/2, limit)
			return spoiled(records, err, func(r *eventstore.Record) { r.Position *= 2 })
		}
	}), "positions in the feed count from 1 without gaps"},
	"reads the feed backwards": {replaced(func(f *faulty, log eventstore.Log) {
		f.readAll = func(ctx context.Context, after uint64, limit int) ([]eventstore.Record, error) {
			records, err := log.ReadAll(ctx, after, limit)
			slices.Reverse(records)
			return records, err
		}
	}), "positions in the feed count from 1 without gaps"},
	"has different positions in the feed": {replaced(func(f *faulty, log eventstore.Log) {
		f.readAll = func(ctx context.Context, after uint64, limit int) ([]eventstore.Record, error) {
			records, err := log.ReadAll(ctx, after, limit)
			return spoiled(records, err, func(r *eventstore.Record) { r.Position += 10 })
		}
	}), "the feed and the streams agree"},
	"returns a head that is one too low": {replaced(func(f *faulty, log eventstore.Log) {
		f.head = func(ctx context.Context) (uint64, error) {
			head, err := log.Head(ctx)
			return max(head, 1) - 1, err
		}
	}), "the head is the position of the last record"},
	"wakes before the record can be read": {replaced(func(f *faulty, log eventstore.Log) {
		f.readAll = func(ctx context.Context, after uint64, limit int) ([]eventstore.Record, error) {
			records, err := log.ReadAll(ctx, after, limit)
			return records[:max(0, len(records)-1)], err
		}
	}), "after a wait the record can be read"},
	"loses a record of the feed when many append": {replaced(func(f *faulty, log eventstore.Log) {
		f.readAll = func(ctx context.Context, after uint64, limit int) ([]eventstore.Record, error) {
			records, err := log.ReadAll(ctx, after, limit)
			return slices.DeleteFunc(records, func(r eventstore.Record) bool { return r.Position == 100 }), err
		}
	}), "a follower of concurrent appends misses nothing"},
	"never wakes": {replaced(func(f *faulty, log eventstore.Log) {
		f.wait = func(ctx context.Context, after uint64) error {
			if head, err := log.Head(ctx); err != nil || head > after {
				return err
			}
			<-ctx.Done()
			return ctx.Err()
		}
	}), "an append wakes all who wait"},
	"wakes without a record": {replaced(func(f *faulty, log eventstore.Log) {
		f.wait = func(ctx context.Context, after uint64) error { return nil }
	}), "a wait ends with its context, and not before"},
	"leaves waits running after it is closed": {replaced(func(f *faulty, log eventstore.Log) {
		f.wait = func(ctx context.Context, after uint64) error {
			err := log.Wait(ctx, after)
			if errors.Is(err, eventstore.ErrClosed) {
				<-ctx.Done()
				return ctx.Err()
			}
			return err
		}
	}), "closing the log ends a wait"},
	"stays open": {replaced(func(f *faulty, log eventstore.Log) {
		f.close = func() error { return nil }
	}), "every call to a closed log returns ErrClosed"},
	"closes once": {replaced(func(f *faulty, log eventstore.Log) {
		closed := false
		f.close = func() error {
			if closed {
				return eventstore.ErrClosed
			}
			closed = true
			return log.Close()
		}
	}), "a log may be closed twice"},
	"returns an unclear error while it closes": {appends(func(ctx context.Context, log eventstore.Log, b eventstore.Batch) (uint64, error) {
		last, err := log.Append(ctx, b)
		if errors.Is(err, eventstore.ErrClosed) {
			err = errors.New("broken pipe")
		}
		return last, err
	}), "closing gives each append under way a result"},
}
