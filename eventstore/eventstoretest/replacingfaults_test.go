package eventstoretest

import (
	"context"
	"iter"

	"konto/eventstore"
)

// replacingFaults are faults as well, in how all claims are replaced; see faults.
var replacingFaults = map[string]fault{
	"does not know a new log's rule": {replaced(func(f *faulty, log eventstore.Log) {
		f.claimRule = func(ctx context.Context) (eventstore.ClaimRule, error) {
			rule, err := log.ClaimRule(ctx)
			rule.Number--
			return rule, err
		}
	}), "a new log's claims are by the present rule"},
	"adds to the claims": {replaces(func(ctx context.Context, log eventstore.Log, rule int, held iter.Seq2[eventstore.HeldClaim, error]) error {
		old, err := log.Claims(ctx, eventstore.HeldClaim{}, 1000)
		if err != nil {
			return err
		}
		return log.ReplaceClaims(ctx, rule, func(yield func(eventstore.HeldClaim, error) bool) {
			given(old...)(yield)
			held(yield)
		})
	}), "replaced claims are the only ones"},
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
	}), "an error among the claims changes none"},
	"gives a shared key to the last alone": {replaces(func(ctx context.Context, log eventstore.Log, rule int, held iter.Seq2[eventstore.HeldClaim, error]) error {
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
	}), "a shared key is held by each of its streams until that releases it"},
	"continues a list behind all holders of a key": {claims(func(ctx context.Context, log eventstore.Log, after eventstore.HeldClaim, limit int) ([]eventstore.HeldClaim, error) {
		if after.Stream != "" {
			after.Stream = "\xff"
		}
		return log.Claims(ctx, after, limit)
	}), "a shared key is listed once for each of its streams"},
}

// replaces replaces ReplaceClaims.
func replaces(do func(ctx context.Context, log eventstore.Log, rule int, held iter.Seq2[eventstore.HeldClaim, error]) error) func(eventstore.Log) eventstore.Log {
	return replaced(func(f *faulty, log eventstore.Log) {
		f.replaceClaims = func(ctx context.Context, rule int, held iter.Seq2[eventstore.HeldClaim, error]) error {
			return do(ctx, log, rule, held)
		}
	})
}
