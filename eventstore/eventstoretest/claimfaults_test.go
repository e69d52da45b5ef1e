package eventstoretest

import (
	"context"
	"iter"
	"slices"
	"sync"

	"konto/eventstore"
)

// claimFaults are more faults, in how claims are listed and replaced; see faults.
var claimFaults = map[string]fault{
	"lists claims backwards": {claims(func(ctx context.Context, log eventstore.Log, after eventstore.HeldClaim, limit int) ([]eventstore.HeldClaim, error) {
		held, err := log.Claims(ctx, after, limit)
		slices.Reverse(held)
		return held, err
	}), "claims are listed in order"},
	"lists claims without their holders": {claims(func(ctx context.Context, log eventstore.Log, after eventstore.HeldClaim, limit int) ([]eventstore.HeldClaim, error) {
		held, err := log.Claims(ctx, after, limit)
		for i := range held {
			held[i].Stream = ""
		}
		return held, err
	}), "claims are listed in order"},
	"ignores where a page of claims begins": {claims(func(ctx context.Context, log eventstore.Log, _ eventstore.HeldClaim, limit int) ([]eventstore.HeldClaim, error) {
		return log.Claims(ctx, eventstore.HeldClaim{}, limit)
	}), "claims are listed in pages"},
	"ignores the limit of a page of claims": {claims(func(ctx context.Context, log eventstore.Log, after eventstore.HeldClaim, limit int) ([]eventstore.HeldClaim, error) {
		return log.Claims(ctx, after, 1000)
	}), "claims are listed in pages"},
	"lists released keys": {replaced(func(f *faulty, log eventstore.Log) {
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
	}), "a released key is not listed"},
	"does not know a new log's rule": {replaced(func(f *faulty, log eventstore.Log) {
		f.claimRule = func(ctx context.Context) (eventstore.ClaimRule, error) {
			rule, err := log.ClaimRule(ctx)
			rule.Number--
			return rule, err
		}
	}), "the claims of a new log follow the present rule"},
	"adds to the claims": {replaces(func(ctx context.Context, log eventstore.Log, rule int, held iter.Seq2[eventstore.HeldClaim, error]) error {
		old, err := log.Claims(ctx, eventstore.HeldClaim{}, 1000)
		if err != nil {
			return err
		}
		return log.ReplaceClaims(ctx, rule, func(yield func(eventstore.HeldClaim, error) bool) {
			given(old...)(yield)
			held(yield)
		})
	}), "replaced claims are the only claims"},
	"keeps the claims that came before an error": {replaces(func(ctx context.Context, log eventstore.Log, rule int, held iter.Seq2[eventstore.HeldClaim, error]) error {
		var before []eventstore.HeldClaim
		for c, err := range held {
			if err != nil {
				_ = log.ReplaceClaims(ctx, rule, given(before...))
				return err
			}
			before = append(before, c)
		}
		return log.ReplaceClaims(ctx, rule, given(before...))
	}), "an error while claims are replaced changes nothing"},
	"gives a shared key only to its last stream": {replaces(func(ctx context.Context, log eventstore.Log, rule int, held iter.Seq2[eventstore.HeldClaim, error]) error {
		return log.ReplaceClaims(ctx, rule, func(yield func(eventstore.HeldClaim, error) bool) {
			last := make(map[eventstore.ClaimKey]eventstore.HeldClaim)
			for c, err := range held {
				if err != nil {
					yield(c, err)
					return
				}
				last[c.Key] = c
			}
			for _, c := range last {
				if !yield(c, nil) {
					return
				}
			}
		})
	}), "each stream holds a shared key until it releases it"},
	"continues a list after all holders of a key": {claims(func(ctx context.Context, log eventstore.Log, after eventstore.HeldClaim, limit int) ([]eventstore.HeldClaim, error) {
		if after.Stream != "" {
			after.Stream = "\xff"
		}
		return log.Claims(ctx, after, limit)
	}), "a shared key is listed once for each of its streams"},
}

// claims returns a fault that replaces Claims.
func claims(do func(ctx context.Context, log eventstore.Log, after eventstore.HeldClaim, limit int) ([]eventstore.HeldClaim, error)) func(eventstore.Log) eventstore.Log {
	return replaced(func(f *faulty, log eventstore.Log) {
		f.claims = func(ctx context.Context, after eventstore.HeldClaim, limit int) ([]eventstore.HeldClaim, error) {
			return do(ctx, log, after, limit)
		}
	})
}

// replaces returns a fault that replaces ReplaceClaims.
func replaces(do func(ctx context.Context, log eventstore.Log, rule int, held iter.Seq2[eventstore.HeldClaim, error]) error) func(eventstore.Log) eventstore.Log {
	return replaced(func(f *faulty, log eventstore.Log) {
		f.replaceClaims = func(ctx context.Context, rule int, held iter.Seq2[eventstore.HeldClaim, error]) error {
			return do(ctx, log, rule, held)
		}
	})
}
