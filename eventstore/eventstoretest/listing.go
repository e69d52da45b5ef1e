package eventstoretest

import (
	"context"
	"slices"

	"konto/eventstore"
)

var listing = []Check{
	{"the keys that are held are listed in their order", func(ctx context.Context, t T, log eventstore.Log) {
		want := hold(ctx, t, log, 20)
		expectClaims(ctx, t, log, eventstore.HeldClaim{}, 100, want)
	}},
	{"held keys are listed in pages", func(ctx context.Context, t T, log eventstore.Log) {
		want := hold(ctx, t, log, 20)
		expectClaims(ctx, t, log, eventstore.HeldClaim{}, 7, want[:7])
		expectClaims(ctx, t, log, want[6], 7, want[7:14])
		expectClaims(ctx, t, log, want[13], 7, want[14:])
		expectClaims(ctx, t, log, want[19], 7, nil)
		for _, limit := range []int{0, -1} {
			expectClaims(ctx, t, log, eventstore.HeldClaim{}, limit, nil)
		}
		beside := want[9] // a place that no claim is at
		beside.Key[31]++
		expectClaims(ctx, t, log, beside, 1, want[10:11])
	}},
	{"a key that was given up is not listed", func(ctx context.Context, t T, log eventstore.Log) {
		stream, kept, freed := newStream(), newKey(), newKey()
		mustAppend(ctx, t, log, batch(stream, 0, 1, take(kept), take(freed)))
		mustAppend(ctx, t, log, batch(stream, 1, 1, release(freed)))
		expectClaims(ctx, t, log, eventstore.HeldClaim{}, 100, []eventstore.HeldClaim{{Key: kept, Stream: stream}})
	}},
}

// hold makes as many streams hold a key each, in the order of the keys.
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
