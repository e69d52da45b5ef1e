package verify

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"konto/events"
	"konto/eventstore"
)

// beginning returns the first bytes of a key, which stand for it in memory. If two keys
// begin alike, one that should not be held may stay unnoticed: with ten million keys the
// chance is 1 in 370,000.
func beginning(key eventstore.ClaimKey) uint64 { return binary.BigEndian.Uint64(key[:]) }

// compareClaims reports the claims that a stream must hold and does not.
func (c *check) compareClaims(ctx context.Context, s *subject) error {
	if c.otherRule {
		return nil
	}
	doubtful := false
	for _, claim := range s.held() {
		c.claims = append(c.claims, beginning(c.Store.ClaimKey(claim)))
		holder, err := c.Store.Holder(ctx, claim)
		if err != nil {
			return c.trouble(ctx, Problem{Stream: s.stream}, err)
		}
		doubtful = doubtful || holder != s.stream
	}
	if !doubtful {
		return nil
	}
	return c.betweenAppends(ctx, s.stream, func(s *subject) ([]Problem, error) { return c.unheld(ctx, s) })
}

// unheld returns the claims that a stream must hold and does not.
func (c *check) unheld(ctx context.Context, s *subject) ([]Problem, error) {
	var problems []Problem
	for _, claim := range s.held() {
		holders, err := c.Store.Holders(ctx, claim)
		if err != nil {
			return nil, err
		}
		p := Problem{Position: s.position, Stream: s.stream}
		switch {
		case slices.Contains(holders, s.stream):
			continue
		case len(holders) == 0:
			p.What = fmt.Sprintf("its claim %s is held by nobody", claim.Kind)
		default:
			p.What = fmt.Sprintf("its claim %s is held by %s", claim.Kind, holders[0])
		}
		problems = append(problems, p)
	}
	return problems, nil
}

// heldClaims reports each held claim that no fold gave, and names the streams that hold
// one together.
func (c *check) heldClaims(ctx context.Context) error {
	if c.otherRule {
		return nil
	}
	slices.Sort(c.claims)
	total := uint64(len(c.claims))
	done := uint64(0)
	for after := (eventstore.HeldClaim{}); ; {
		c.Progress(done, total, "claims")
		page, err := c.Store.Claims(ctx, after, c.Page)
		if err != nil {
			return c.trouble(ctx, Problem{What: "claims: "}, err)
		}
		for _, held := range page {
			// That a fold gave the key tells nothing of which of several holders' fold it was.
			shared := after.Stream != "" && held.Key == after.Key
			if _, known := slices.BinarySearch(c.claims, beginning(held.Key)); !known || shared {
				if err := c.claimAgain(ctx, held); err != nil {
					return err
				}
			}
			if shared {
				if err := c.claimAgain(ctx, after); err != nil {
					return err
				}
				if len(c.report.Notices) < MaxProblems {
					c.report.Notices = append(c.report.Notices,
						fmt.Sprintf("%s and %s have one email address, spelled differently; it is free once both have another", after.Stream, held.Stream))
				}
			}
			after = held
		}
		if done += uint64(len(page)); len(page) == 0 {
			return nil
		}
	}
}

// claimAgain checks again a claim that no fold seems to give.
func (c *check) claimAgain(ctx context.Context, held eventstore.HeldClaim) error {
	if _, err := newSubject(held.Stream); err != nil {
		c.found(Problem{Stream: held.Stream, What: "a claim is held by what is no stream"})
		return nil
	}
	return c.betweenAppends(ctx, held.Stream, func(s *subject) ([]Problem, error) {
		still, err := c.Store.HoldersOf(ctx, held.Key)
		if err != nil || !slices.Contains(still, held.Stream) {
			return nil, err
		}
		gives := func(claim events.Claim) bool { return c.Store.ClaimKey(claim) == held.Key }
		p := Problem{Position: s.position, Stream: s.stream}
		switch {
		case slices.ContainsFunc(s.held(), gives):
			return nil, nil
		case s.version == 0:
			p.What = "it holds a claim, but the log has no record of it: the log may have lost its end"
		default:
			p.What = "it holds a claim that its events do not give"
		}
		return []Problem{p}, nil
	})
}
