package eventstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"konto/events"
)

// renewPage is how many records or claims RenewClaims reads at once.
const renewPage = 1000

// RenewClaims computes all claims again from the events, by the rule events.ClaimRule, in one
// transaction of the log. Nobody may append meanwhile. Streams that have the same key now all
// hold it; see SharedClaims. A stream that can never be read keeps its present claims, so
// that nobody else gets them. Any other failure ends RenewClaims without a change. progress is
// called with the number of records that are done; it may be nil.
func (s *Store) RenewClaims(ctx context.Context, progress func(done, total uint64)) error {
	head, err := s.log.Head(ctx)
	if err != nil {
		return err
	}
	if head > 0 { // what another node has appended may not be readable yet
		if err := s.log.Wait(ctx, head-1); err != nil {
			return err
		}
	}
	return s.log.ReplaceClaims(ctx, events.ClaimRule, func(yield func(HeldClaim, error) bool) {
		var unreadable []events.Stream
		for after := uint64(0); after < head; {
			page, last, err := s.claimsOfPage(ctx, after)
			if err != nil {
				yield(HeldClaim{}, err)
				return
			}
			for _, c := range page {
				if c.unreadable {
					unreadable = append(unreadable, c.stream)
				}
				for _, claim := range c.claims {
					if !yield(HeldClaim{Key: s.ClaimKey(claim), Stream: c.stream}, nil) {
						return
					}
				}
			}
			if after = last; progress != nil {
				progress(after, head)
			}
		}
		if len(unreadable) == 0 {
			return
		}
		for held, err := range s.AllClaims(ctx) {
			if (err != nil || slices.Contains(unreadable, held.Stream)) && !yield(held, err) {
				return
			}
		}
	})
}

// streamClaims is what a stream must hold according to its events.
type streamClaims struct {
	stream     events.Stream
	claims     []events.Claim
	unreadable bool
}

// claimsOfPage folds the streams that begin on the page of the log after a position.
func (s *Store) claimsOfPage(ctx context.Context, after uint64) (page []streamClaims, last uint64, err error) {
	records, err := s.log.ReadAll(ctx, after, renewPage)
	if err != nil {
		return nil, 0, err
	}
	if len(records) == 0 {
		return nil, 0, fmt.Errorf("the log ends at position %d", after)
	}
	if err := Prefetch(ctx, s.keys, records); err != nil {
		return nil, 0, err
	}
	for _, r := range records {
		if last = r.Position; r.Version == 1 {
			page = append(page, streamClaims{stream: r.Stream})
		}
	}
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range page {
		group.Go(func() error { return s.foldClaims(ctx, &page[i]) })
	}
	return page, last, group.Wait()
}

// foldClaims sets what a stream must hold.
func (s *Store) foldClaims(ctx context.Context, c *streamClaims) (err error) {
	switch c.stream.Category() {
	case events.CategoryAccount:
		var account events.Account
		err = s.Fold(ctx, c.stream, math.MaxUint64, &account.Version, account.Apply)
		c.claims = account.Claims()
	case events.CategoryThirdParty:
		var party events.ThirdParty
		err = s.Fold(ctx, c.stream, math.MaxUint64, &party.Version, party.Apply)
		c.claims = party.Claims()
	}
	if isUnreadable(err) {
		c.claims, c.unreadable = nil, true
		return nil
	}
	// A failure that may pass must end RenewClaims: the stream would keep claims of an old rule.
	return err
}

// isUnreadable reports whether a stream can never be folded from what is stored. Other
// failures may pass, such as a keyring that cannot be read at present.
func isUnreadable(err error) bool {
	var undecodable *events.DecodeError
	return errors.Is(err, ErrNoKey) || errors.Is(err, ErrDamagedKey) || errors.Is(err, ErrSealBroken) || errors.Is(err, ErrMetadata) ||
		errors.Is(err, ErrMisplaced) || errors.As(err, &undecodable)
}

// AllClaims iterates over all claims that are stored.
func (s *Store) AllClaims(ctx context.Context) iter.Seq2[HeldClaim, error] {
	return func(yield func(HeldClaim, error) bool) {
		for after := (HeldClaim{}); ; {
			page, err := s.Claims(ctx, after, renewPage)
			if err != nil {
				yield(HeldClaim{}, err)
				return
			}
			for _, after = range page {
				if !yield(after, nil) {
					return
				}
			}
			if len(page) < renewPage {
				return
			}
		}
	}
}

// SharedClaims returns the streams that hold a key together, one list for each such key. It
// reads all claims, unless the last ReplaceClaims found no shared key.
func (s *Store) SharedClaims(ctx context.Context) (shared [][]events.Stream, err error) {
	rule, err := s.log.ClaimRule(ctx)
	if err != nil || !rule.Shared {
		return nil, err
	}
	var previous HeldClaim
	listed := false // the last list is that of previous.Key
	for held, err := range s.AllClaims(ctx) {
		switch {
		case err != nil:
			return nil, err
		case previous.Stream == "" || held.Key != previous.Key:
			listed = false
		case listed:
			last := &shared[len(shared)-1]
			*last = append(*last, held.Stream)
		default:
			shared, listed = append(shared, []events.Stream{previous.Stream, held.Stream}), true
		}
		previous = held
	}
	return shared, nil
}

// Holders returns all streams that hold a claim, in order.
func (s *Store) Holders(ctx context.Context, c events.Claim) ([]events.Stream, error) {
	return s.HoldersOf(ctx, s.ClaimKey(c))
}

// HoldersOf returns all streams that hold a key, in order.
func (s *Store) HoldersOf(ctx context.Context, key ClaimKey) (holders []events.Stream, err error) {
	const limit = 8 // nearly every key has one holder
	for after := (HeldClaim{Key: key}); ; {
		page, err := s.Claims(ctx, after, limit)
		if err != nil {
			return nil, err
		}
		for _, after = range page {
			if after.Key != key {
				return holders, nil
			}
			holders = append(holders, after.Stream)
		}
		if len(page) < limit {
			return holders, nil
		}
	}
}

// ClaimRule returns the rule that the claims were made by; see ClaimRules.
func (s *Store) ClaimRule(ctx context.Context) (ClaimRule, error) { return s.log.ClaimRule(ctx) }
