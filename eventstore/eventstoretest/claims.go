package eventstoretest

import (
	"context"
	"errors"
	"iter"
	"slices"

	"konto/events"
	"konto/eventstore"
)

var claiming = []Check{
	{"a stream holds a key until it releases it", func(ctx context.Context, t T, log eventstore.Log) {
		stream, key := newStream(), newKey()
		expectHolder(ctx, t, log, key, "")
		mustAppend(ctx, t, log, batch(stream, 0, 1, take(key)))
		expectHolder(ctx, t, log, key, stream)
		mustAppend(ctx, t, log, batch(stream, 1, 1, release(key)))
		expectHolder(ctx, t, log, key, "")
		other := newStream()
		mustAppend(ctx, t, log, batch(other, 0, 1, take(key)))
		expectHolder(ctx, t, log, key, other)
	}},
	{"taking another stream's key is refused and names the holder", func(ctx context.Context, t T, log eventstore.Log) {
		holder, key := newStream(), newKey()
		mustAppend(ctx, t, log, batch(holder, 0, 1, take(newKey()), take(key)))
		expectTaken(ctx, t, log, batch(newStream(), 0, 1, take(newKey()), take(key)), key, holder)
		expectHolder(ctx, t, log, key, holder)
	}},
	{"a batch refused for a claim stores no records and no claims", func(ctx context.Context, t T, log eventstore.Log) {
		holder, key := newStream(), newKey()
		mustAppend(ctx, t, log, batch(holder, 0, 1, take(key)))
		loser, before, own := newStream(), newKey(), newKey()
		last := mustAppend(ctx, t, log, batch(loser, 0, 1, take(own)))
		expectTaken(ctx, t, log, batch(loser, 1, 2, take(before), release(own), take(key)), key, holder)
		expectHolder(ctx, t, log, before, "")
		expectHolder(ctx, t, log, own, loser)
		expectHead(ctx, t, log, loser, eventstore.StreamHead{Version: 1, Position: last})
	}},
	{"a batch refused for its version stores no claims", func(ctx context.Context, t T, log eventstore.Log) {
		stream, free, own := newStream(), newKey(), newKey()
		mustAppend(ctx, t, log, batch(stream, 0, 1, take(own)))
		expectConflict(ctx, t, log, batch(stream, 0, 1, take(free), release(own)), 1)
		expectHolder(ctx, t, log, free, "")
		expectHolder(ctx, t, log, own, stream)
	}},
	{"taking a key again has no effect", func(ctx context.Context, t T, log eventstore.Log) {
		stream, key := newStream(), newKey()
		mustAppend(ctx, t, log, batch(stream, 0, 1, take(key), take(key)))
		mustAppend(ctx, t, log, batch(stream, 1, 1, take(key)))
		expectHolder(ctx, t, log, key, stream)
	}},
	{"releasing another stream's key has no effect", func(ctx context.Context, t T, log eventstore.Log) {
		holder, other, key := newStream(), newStream(), newKey()
		mustAppend(ctx, t, log, batch(holder, 0, 1, take(key)))
		mustAppend(ctx, t, log, batch(other, 0, 1, release(key), release(newKey())))
		expectHolder(ctx, t, log, key, holder)
	}},
	{"claims of a batch are applied in order", func(ctx context.Context, t T, log eventstore.Log) {
		stream, kept, freed := newStream(), newKey(), newKey()
		mustAppend(ctx, t, log, batch(stream, 0, 1, take(kept)))
		mustAppend(ctx, t, log, batch(stream, 1, 1, release(kept), take(kept), take(freed), release(freed)))
		expectHolder(ctx, t, log, kept, stream)
		expectHolder(ctx, t, log, freed, "")
	}},
	{"releasing another stream's key does not make it available", func(ctx context.Context, t T, log eventstore.Log) {
		holder, key := newStream(), newKey()
		mustAppend(ctx, t, log, batch(holder, 0, 1, take(key)))
		expectTaken(ctx, t, log, batch(newStream(), 0, 1, release(key), take(key)), key, holder)
	}},
	{"a batch without records may change claims", func(ctx context.Context, t T, log eventstore.Log) {
		stream, key := newStream(), newKey()
		last := mustAppend(ctx, t, log, batch(stream, 0, 1))
		expectConflict(ctx, t, log, batch(stream, 0, 0, take(key)), 1)
		if got := mustAppend(ctx, t, log, batch(stream, 1, 0, take(key))); got != 0 {
			t.Errorf("an append without records returned position %d, not 0", got)
		}
		expectHolder(ctx, t, log, key, stream)
		expectHead(ctx, t, log, stream, eventstore.StreamHead{Version: 1, Position: last})
	}},
	{"a stream without records may hold a key", func(ctx context.Context, t T, log eventstore.Log) {
		stream, key := newStream(), newKey()
		mustAppend(ctx, t, log, batch(stream, 0, 0, take(key)))
		expectHolder(ctx, t, log, key, stream)
		expectTaken(ctx, t, log, batch(newStream(), 0, 1, take(key)), key, stream)
	}},
}

var listing = []Check{
	{"claims are listed in order", func(ctx context.Context, t T, log eventstore.Log) {
		want := hold(ctx, t, log, 20)
		expectClaims(ctx, t, log, eventstore.HeldClaim{}, 100, want)
	}},
	{"claims are listed in pages", func(ctx context.Context, t T, log eventstore.Log) {
		want := hold(ctx, t, log, 20)
		expectClaims(ctx, t, log, eventstore.HeldClaim{}, 7, want[:7])
		expectClaims(ctx, t, log, want[6], 7, want[7:14])
		expectClaims(ctx, t, log, want[13], 7, want[14:])
		expectClaims(ctx, t, log, want[19], 7, nil)
		for _, limit := range []int{0, -1} {
			expectClaims(ctx, t, log, eventstore.HeldClaim{}, limit, nil)
		}
		beside := want[9]
		beside.Stream += "~" // no claim is there
		expectClaims(ctx, t, log, beside, 1, want[10:11])
	}},
	{"a released key is not listed", func(ctx context.Context, t T, log eventstore.Log) {
		stream, kept, freed := newStream(), newKey(), newKey()
		mustAppend(ctx, t, log, batch(stream, 0, 1, take(kept), take(freed)))
		mustAppend(ctx, t, log, batch(stream, 1, 1, release(freed)))
		expectClaims(ctx, t, log, eventstore.HeldClaim{}, 100, []eventstore.HeldClaim{{Key: kept, Stream: stream}})
	}},
}

// hold lets n streams hold a key each, and returns the claims in order.
func hold(ctx context.Context, t T, log eventstore.Log, n int) []eventstore.HeldClaim {
	t.Helper()
	held := make([]eventstore.HeldClaim, n)
	for i := range held {
		held[i] = eventstore.HeldClaim{Key: newKey(), Stream: newStream()}
		mustAppend(ctx, t, log, batch(held[i].Stream, 0, 1, take(held[i].Key)))
	}
	slices.SortFunc(held, eventstore.HeldClaim.Compare)
	return held
}

func expectClaims(ctx context.Context, t T, log eventstore.Log, after eventstore.HeldClaim, limit int, want []eventstore.HeldClaim) {
	t.Helper()
	if got, err := log.Claims(ctx, after, limit); err != nil || !slices.Equal(got, want) {
		t.Errorf("%d claims are listed, %v; want %d, or others, or in another order", len(got), err, len(want))
	}
}

// given yields claims to ReplaceClaims.
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

// shareKey lets two streams hold one key, and returns them in order.
func shareKey(ctx context.Context, t T, log eventstore.Log) (key eventstore.ClaimKey, first, second events.Stream) {
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
	{"the claims of a new log follow the present rule", func(ctx context.Context, t T, log eventstore.Log) {
		expectRule(ctx, t, log, eventstore.ClaimRule{Number: events.ClaimRule})
	}},
	{"replaced claims are the only claims", func(ctx context.Context, t T, log eventstore.Log) {
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
	{"an error while claims are replaced changes nothing", func(ctx context.Context, t T, log eventstore.Log) {
		stream, key := newStream(), newKey()
		mustAppend(ctx, t, log, batch(stream, 0, 1, take(key)))
		cut := errors.New("interrupted")
		err := log.ReplaceClaims(ctx, events.ClaimRule+7, func(yield func(eventstore.HeldClaim, error) bool) {
			// The log may be read here.
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
	{"each stream holds a shared key until it releases it", func(ctx context.Context, t T, log eventstore.Log) {
		key, first, second := shareKey(ctx, t, log)
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
		key, first, second := shareKey(ctx, t, log)
		want := []eventstore.HeldClaim{{Key: key, Stream: first}, {Key: key, Stream: second}}
		expectClaims(ctx, t, log, eventstore.HeldClaim{}, 10, want)
		expectClaims(ctx, t, log, eventstore.HeldClaim{Key: key}, 1, want[:1])
		expectClaims(ctx, t, log, want[0], 1, want[1:])
		expectClaims(ctx, t, log, want[1], 1, nil)
	}},
}
