package verify

import (
	"bytes"
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
			// If several streams hold the key, it is not known whose fold gave it.
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
	if _, err := newSubject(held.Stream, 0); err != nil {
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

// receipts reports each receipt, expired or not, that cannot be read.
func (c *check) receipts(ctx context.Context) error {
	done := uint64(0)
	for after := (eventstore.ReceiptKey{}); ; {
		c.Progress(done, done, "receipts")
		page, err := c.Log.Receipts(ctx, after, c.Page)
		if err != nil {
			return c.trouble(ctx, Problem{What: "receipts: "}, err)
		}
		for _, r := range page {
			after = r.Key
			if err := c.receipt(ctx, r); err != nil {
				return err
			}
		}
		if done += uint64(len(page)); len(page) == 0 {
			return nil
		}
	}
}

func (c *check) receipt(ctx context.Context, r eventstore.LeftReceipt) error {
	p := Problem{Stream: r.Stream}
	head, err := c.Log.StreamHead(ctx, r.Stream)
	if err != nil {
		return c.trouble(ctx, p, err)
	}
	p.Position = head.Position
	if head.Version == 0 && r.Stream.Category() == events.CategoryAccount {
		p.What = "a receipt was left with it, but the log has no record of it: the log may have lost its end"
		c.found(p)
		return nil
	}
	broken := c.Store.CheckReceipt(ctx, r)
	if broken == nil {
		return nil
	}
	// Expired receipts are deleted, and all receipts of a stream when it ends.
	still, err := c.Log.Receipts(ctx, before(r.Key), 1)
	if err != nil {
		return c.trouble(ctx, p, err)
	}
	if len(still) == 0 || still[0].Key != r.Key || !bytes.Equal(still[0].Data, r.Data) {
		return nil
	}
	p.What = "a receipt that was left with it cannot be read: "
	return c.trouble(ctx, p, broken)
}

// before returns the key just before another, so that a listing begins with the other one.
func before(key eventstore.ReceiptKey) eventstore.ReceiptKey {
	for i := len(key) - 1; i >= 0; i-- {
		key[i]--
		if key[i] != 0xff {
			break
		}
	}
	return key
}
