package eventstoretest

import (
	"context"
	"errors"
	"iter"
	"slices"

	"konto/events"
	"konto/eventstore"
)

// given is what ReplaceClaims is given.
func given(held ...eventstore.HeldClaim) iter.Seq2[eventstore.HeldClaim, error] {
	return func(yield func(eventstore.HeldClaim, error) bool) {
		for _, c := range held {
			if !yield(c, nil) {
				return
			}
		}
	}
}

func mustReplace(ctx context.Context, t T, log eventstore.Log, rule int, held ...eventstore.HeldClaim) {
	t.Helper()
	if err := log.ReplaceClaims(ctx, rule, given(held...)); err != nil {
		t.Fatalf("replace claims: %v", err)
	}
}

func expectRule(ctx context.Context, t T, log eventstore.Log, want eventstore.ClaimRule) {
	t.Helper()
	if got, err := log.ClaimRule(ctx); err != nil || got != want {
		t.Errorf("the claims' rule is %+v, %v; want %+v", got, err, want)
	}
}

// sharing makes two streams, in order, hold one key.
func sharing(ctx context.Context, t T, log eventstore.Log) (key eventstore.ClaimKey, first, second events.Stream) {
	t.Helper()
	streams := []events.Stream{newStream(), newStream()}
	slices.Sort(streams)
	for _, stream := range streams {
		mustAppend(ctx, t, log, batch(stream, 0, 1))
	}
	key = newKey()
	mustReplace(ctx, t, log, events.ClaimRule,
		eventstore.HeldClaim{Key: key, Stream: streams[1]}, eventstore.HeldClaim{Key: key, Stream: streams[0]})
	return key, streams[0], streams[1]
}

var replacing = []Check{
	{"a new log's claims are by the present rule", func(ctx context.Context, t T, log eventstore.Log) {
		expectRule(ctx, t, log, eventstore.ClaimRule{Number: events.ClaimRule})
	}},
	{"replaced claims are the only ones", func(ctx context.Context, t T, log eventstore.Log) {
		stream, old, kept := newStream(), newKey(), newKey()
		mustAppend(ctx, t, log, batch(stream, 0, 1, take(old), take(kept)))
		next := eventstore.HeldClaim{Key: newKey(), Stream: stream}
		mustReplace(ctx, t, log, events.ClaimRule+7, eventstore.HeldClaim{Key: kept, Stream: stream}, next, next)
		expectRule(ctx, t, log, eventstore.ClaimRule{Number: events.ClaimRule + 7})
		expectHolder(ctx, t, log, old, "")
		expectHolder(ctx, t, log, kept, stream)
		expectHolder(ctx, t, log, next.Key, stream)
		mustAppend(ctx, t, log, batch(newStream(), 0, 1, take(old)))
		mustAppend(ctx, t, log, batch(stream, 1, 1, release(kept)))
		expectHolder(ctx, t, log, kept, "")
	}},
	{"an error among the claims changes none", func(ctx context.Context, t T, log eventstore.Log) {
		stream, key := newStream(), newKey()
		mustAppend(ctx, t, log, batch(stream, 0, 1, take(key)))
		cut := errors.New("cut off")
		err := log.ReplaceClaims(ctx, events.ClaimRule+7, func(yield func(eventstore.HeldClaim, error) bool) {
			// Reading the log is allowed here.
			if _, err := log.ReadStream(ctx, stream, 0, 1); err != nil {
				t.Errorf("read the stream: %v", err)
			}
			if yield(eventstore.HeldClaim{Key: newKey(), Stream: stream}, nil) {
				yield(eventstore.HeldClaim{}, cut)
			}
		})
		if !errors.Is(err, cut) {
			t.Errorf("replace claims: %v, want the claims' own error", err)
		}
		expectRule(ctx, t, log, eventstore.ClaimRule{Number: events.ClaimRule})
		expectClaims(ctx, t, log, eventstore.HeldClaim{}, 10, []eventstore.HeldClaim{{Key: key, Stream: stream}})
	}},
	{"a shared key is held by each of its streams until that releases it", func(ctx context.Context, t T, log eventstore.Log) {
		key, first, second := sharing(ctx, t, log)
		expectRule(ctx, t, log, eventstore.ClaimRule{Number: events.ClaimRule, Shared: true})
		expectHolder(ctx, t, log, key, first)
		expectTaken(ctx, t, log, batch(newStream(), 0, 1, take(key)), key, first)
		mustAppend(ctx, t, log, batch(first, 1, 1, take(key)))  // both may take what they hold
		mustAppend(ctx, t, log, batch(second, 1, 1, take(key))) // and nothing changes
		mustAppend(ctx, t, log, batch(first, 2, 1, release(key)))
		expectHolder(ctx, t, log, key, second)
		expectTaken(ctx, t, log, batch(newStream(), 0, 1, take(key)), key, second)
		expectTaken(ctx, t, log, batch(first, 3, 1, take(key)), key, second)
		mustAppend(ctx, t, log, batch(second, 2, 1, release(key)))
		expectHolder(ctx, t, log, key, "")
		mustAppend(ctx, t, log, batch(first, 3, 1, take(key)))
	}},
	{"a shared key is listed once for each of its streams", func(ctx context.Context, t T, log eventstore.Log) {
		key, first, second := sharing(ctx, t, log)
		want := []eventstore.HeldClaim{{Key: key, Stream: first}, {Key: key, Stream: second}}
		expectClaims(ctx, t, log, eventstore.HeldClaim{}, 10, want)
		expectClaims(ctx, t, log, eventstore.HeldClaim{Key: key}, 1, want[:1])
		expectClaims(ctx, t, log, want[0], 1, want[1:])
		expectClaims(ctx, t, log, want[1], 1, nil)
	}},
}
