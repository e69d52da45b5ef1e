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

// renewPage is how many records are read at a time while claims are made anew.
const renewPage = 1000

// RenewClaims makes all claims anew from the events, by the rule events.ClaimRule, in one
// transaction of the log. The caller sees to it that nobody appends meanwhile. Streams
// that now share a key all hold it; SharedClaims lists them. A stream whose events cannot
// be read, for a lasting reason, keeps the claims that it has, because nobody else may get
// them; any other failure ends RenewClaims and changes nothing. tell is told how many of
// the log's records are done; nil: nobody is told.
func (s *Store) RenewClaims(ctx context.Context, tell func(done, total uint64)) error {
	head, err := s.log.Head(ctx)
	if err != nil {
		return err
	}
	return s.log.ReplaceClaims(ctx, events.ClaimRule, func(yield func(HeldClaim, error) bool) {
		var unread []events.Stream
		for after := uint64(0); after < head; {
			held, last, err := s.foldPage(ctx, after)
			if err != nil {
				yield(HeldClaim{}, err)
				return
			}
			for _, its := range held {
				if its.err != nil {
					unread = append(unread, its.stream)
				}
				for _, claim := range its.claims {
					if !yield(HeldClaim{Key: s.ClaimKey(claim), Stream: its.stream}, nil) {
						return
					}
				}
			}
			if after = last; tell != nil {
				tell(after, head)
			}
		}
		if len(unread) == 0 {
			return
		}
		for held, err := range s.allClaims(ctx) {
			if (err != nil || slices.Contains(unread, held.Stream)) && !yield(held, err) {
				return
			}
		}
	})
}

// folded is what one stream must hold by its events; err tells that they cannot be read.
type folded struct {
	stream events.Stream
	claims []events.Claim
	err    error
}

// foldPage folds the streams that begin on one page of the log, behind a position.
func (s *Store) foldPage(ctx context.Context, after uint64) (held []folded, last uint64, err error) {
	records, err := s.log.ReadAll(ctx, after, renewPage)
	if err != nil {
		return nil, 0, err
	}
	if len(records) == 0 {
		return nil, 0, fmt.Errorf("the log ends at position %d", after)
	}
	for _, r := range records {
		if last = r.Position; r.Version == 1 {
			held = append(held, folded{stream: r.Stream})
		}
	}
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range held {
		group.Go(func() error { return s.fold(ctx, &held[i]) })
	}
	return held, last, group.Wait()
}

// isUnreadable tells whether a stream can never be folded with what is stored. Every other
// failure, such as a keyring that cannot be read at present, may pass.
func isUnreadable(err error) bool {
	var undecodable *events.DecodeError
	return errors.Is(err, ErrNoKey) || errors.Is(err, ErrDamagedKey) || errors.Is(err, ErrSealBroken) || errors.Is(err, ErrMetadata) ||
		errors.Is(err, ErrMisplaced) || errors.As(err, &undecodable)
}

// fold sets what a stream must hold. The error is the log's, or the keyring's: claims that
// a stream keeps only because its key could not be read now would stay those of an older rule.
func (s *Store) fold(ctx context.Context, f *folded) (err error) {
	switch f.stream.Category() {
	case events.CategoryAccount:
		var account events.Account
		err = s.Fold(ctx, f.stream, math.MaxUint64, &account.Version, account.Apply)
		f.claims = account.Claims()
	case events.CategoryThirdParty:
		var party events.ThirdParty
		err = s.Fold(ctx, f.stream, math.MaxUint64, &party.Version, party.Apply)
		f.claims = party.Claims()
	}
	if isUnreadable(err) {
		f.claims, f.err = nil, err
		return nil
	}
	return err
}

// allClaims lists all claims as they are.
func (s *Store) allClaims(ctx context.Context) iter.Seq2[HeldClaim, error] {
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

// SharedClaims lists the streams that hold a key together, one list for each such key. It
// reads all claims, unless the last ReplaceClaims left none that is shared.
func (s *Store) SharedClaims(ctx context.Context) (shared [][]events.Stream, err error) {
	rule, err := s.log.ClaimRule(ctx)
	if err != nil || !rule.Shared {
		return nil, err
	}
	var before HeldClaim
	together := false // the last list is of before's key
	for held, err := range s.allClaims(ctx) {
		switch {
		case err != nil:
			return nil, err
		case before.Stream == "" || held.Key != before.Key:
			together = false
		case together:
			last := &shared[len(shared)-1]
			*last = append(*last, held.Stream)
		default:
			shared, together = append(shared, []events.Stream{before.Stream, held.Stream}), true
		}
		before = held
	}
	return shared, nil
}

// Holders returns all streams that hold a claim, in the order of their names.
func (s *Store) Holders(ctx context.Context, c events.Claim) ([]events.Stream, error) {
	return s.HoldersOf(ctx, s.ClaimKey(c))
}

// HoldersOf is Holders for who knows the key alone.
func (s *Store) HoldersOf(ctx context.Context, key ClaimKey) (holders []events.Stream, err error) {
	const few = 8 // at a time: nearly every key has one holder
	for after := (HeldClaim{Key: key}); ; {
		page, err := s.Claims(ctx, after, few)
		if err != nil {
			return nil, err
		}
		for _, after = range page {
			if after.Key != key {
				return holders, nil
			}
			holders = append(holders, after.Stream)
		}
		if len(page) < few {
			return holders, nil
		}
	}
}

// ClaimRule tells by which rule the claims were made; see Reader.
func (s *Store) ClaimRule(ctx context.Context) (ClaimRule, error) { return s.log.ClaimRule(ctx) }
