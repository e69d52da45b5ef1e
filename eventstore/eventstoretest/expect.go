package eventstoretest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
)

func newStream() events.Stream { return events.AccountStream(ulid.Make()) }

func newKey() (key eventstore.ClaimKey) {
	rand.Read(key[:])
	return key
}

func take(key eventstore.ClaimKey) eventstore.ClaimOp { return eventstore.ClaimOp{Key: key} }

func release(key eventstore.ClaimKey) eventstore.ClaimOp {
	return eventstore.ClaimOp{Key: key, Release: true}
}

// batch returns n records after a version of the stream, with claims. Their data is not text,
// and their metadata is not ASCII.
func batch(stream events.Stream, after uint64, n int, claims ...eventstore.ClaimOp) eventstore.Batch {
	b := eventstore.Batch{Stream: stream, Expected: after, Claims: claims}
	for version := after + 1; version <= after+uint64(n); version++ {
		data := make([]byte, 64)
		rand.Read(data)
		b.Records = append(b.Records, eventstore.Record{
			Stream: stream, Version: version, ID: ulid.Make(), Type: "Tested.v1",
			Time:     time.UnixMilli(1_700_000_000_000 + int64(version)*7).UTC(),
			Metadata: fmt.Appendf(nil, `{"requestId":"å%d"}`, version),
			Data:     append([]byte{0, 0xff, '\''}, data...),
		})
	}
	return b
}

func mustAppend(ctx context.Context, t T, log eventstore.Log, b eventstore.Batch) uint64 {
	t.Helper()
	last, err := log.Append(ctx, b)
	if err != nil {
		t.Fatalf("append of %d records at version %d: %v", len(b.Records), b.Expected, err)
	}
	return last
}

// feed waits for a position and reads the whole log.
func feed(ctx context.Context, t T, log eventstore.Log, last uint64) []eventstore.Record {
	t.Helper()
	if err := log.Wait(ctx, last-1); err != nil {
		t.Fatalf("wait for position %d: %v", last, err)
	}
	records, err := log.ReadAll(ctx, 0, 10_000)
	if err != nil {
		t.Fatalf("read all: %v", err)
	}
	return records
}

func streamOf(ctx context.Context, t T, log eventstore.Log, stream events.Stream) []eventstore.Record {
	t.Helper()
	records, err := log.ReadStream(ctx, stream, 0, 10_000)
	if err != nil {
		t.Fatalf("read stream: %v", err)
	}
	return records
}

// expectRecords compares records. It ignores the position if want has none.
func expectRecords(t T, what string, got, want []eventstore.Record) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s has %d records, not %d", what, len(got), len(want))
	}
	for i := range got {
		if !same(got[i], want[i]) {
			t.Fatalf("%s: record %d is\n%+v, not\n%+v", what, i, got[i], want[i])
		}
	}
}

func same(got, want eventstore.Record) bool {
	return (want.Position == 0 || got.Position == want.Position) &&
		got.Stream == want.Stream && got.Version == want.Version && got.ID == want.ID && got.Type == want.Type &&
		got.Time == want.Time && // with ==, which also compares the location
		bytes.Equal(got.Metadata, want.Metadata) && bytes.Equal(got.Data, want.Data)
}

func expectHead(ctx context.Context, t T, log eventstore.Log, stream events.Stream, want eventstore.StreamHead) {
	t.Helper()
	if got, err := log.StreamHead(ctx, stream); err != nil || got != want {
		t.Errorf("stream head is %+v, %v; want %+v", got, err, want)
	}
}

func expectHolder(ctx context.Context, t T, log eventstore.Log, key eventstore.ClaimKey, want events.Stream) {
	t.Helper()
	if got, err := log.Holder(ctx, key); err != nil || got != want {
		t.Errorf("holder is %q, %v; want %q", got, err, want)
	}
}

// expectConflict appends and expects an error with the actual version.
func expectConflict(ctx context.Context, t T, log eventstore.Log, b eventstore.Batch, actual uint64) {
	t.Helper()
	_, err := log.Append(ctx, b)
	if conflict, ok := isConflict(err); !ok {
		t.Errorf("append at version %d to a stream at %d: %v, want a conflict", b.Expected, actual, err)
	} else if want := (eventstore.VersionConflict{Stream: b.Stream, Expected: b.Expected, Actual: actual}); *conflict != want {
		t.Errorf("the conflict says %+v, not %+v", *conflict, want)
	}
}

// expectTaken appends and expects an error with the holder of the key.
func expectTaken(ctx context.Context, t T, log eventstore.Log, b eventstore.Batch, key eventstore.ClaimKey, holder events.Stream) {
	t.Helper()
	_, err := log.Append(ctx, b)
	if taken, ok := isTaken(err); !ok {
		t.Errorf("append that takes another's key: %v, want that it is taken", err)
	} else if want := (eventstore.ClaimTaken{Key: key, Holder: holder}); *taken != want {
		t.Errorf("the error says %+v, not %+v", *taken, want)
	}
}

// isConflict checks both the sentinel and the type.
func isConflict(err error) (conflict *eventstore.VersionConflict, ok bool) {
	ok = errors.As(err, &conflict) && errors.Is(err, eventstore.ErrConflict)
	return conflict, ok
}

func isTaken(err error) (taken *eventstore.ClaimTaken, ok bool) {
	ok = errors.As(err, &taken) && errors.Is(err, eventstore.ErrTaken)
	return taken, ok
}
