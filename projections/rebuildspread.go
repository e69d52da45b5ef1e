package projections

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/errgroup"

	"konto/events"
	"konto/eventstore"
)

// How the log is spread. A part of partEvents events has at most as many
// accounts, of some 3 KB each while they are folded; so memory stays bounded
// whatever the number of accounts, up to maxParts times as many.
const (
	partEvents = 8192
	maxParts   = 2048
	spreadPage = 1000 // records read at a time
)

// categories are the ones that the read model folds. A spilled record names its
// own by the index.
var categories = []string{events.CategoryAccount, events.CategoryCredential, events.CategoryThirdParty}

// spread copies the log up to a position into parts: the accounts' are numbered
// from 0, and b.accounts is that of all others. Several goroutines copy, each one
// range of positions into a spill of its own, so the spills of a part one after
// the other are in the order of the log.
func (b *rebuild) spread(ctx context.Context, position uint64) (_ []*spill, err error) {
	b.accounts = int(min(max(position/partEvents, 1), maxParts))
	spills := make([]*spill, b.workers)
	for i := range spills {
		if spills[i], err = newSpill(b.next.path, b.accounts+1); err != nil {
			closeSpills(spills[:i])
			return nil, err
		}
	}
	group, groupCtx := errgroup.WithContext(ctx)
	share := position/uint64(len(spills)) + 1
	for i, s := range spills {
		after, end := min(uint64(i)*share, position), min(uint64(i+1)*share, position)
		group.Go(func() error { return b.spreadRange(groupCtx, s, after, end, position) })
	}
	if err := group.Wait(); err != nil {
		closeSpills(spills)
		return nil, err
	}
	return spills, nil
}

// spreadRange copies what follows one position, up to another, which is at most last.
func (b *rebuild) spreadRange(ctx context.Context, s *spill, after, end, last uint64) error {
	for after < end {
		// Positions are all different, so this many cannot go past the end by much.
		page, err := b.live.log.ReadAll(ctx, after, int(min(spreadPage, end-after)))
		if err != nil {
			return err
		}
		if len(page) == 0 {
			return fmt.Errorf("%w: the log ends before position %d", ErrOutOfStep, end)
		}
		began := after
		for _, r := range page {
			if r.Position > end {
				break
			}
			if err := b.spreadOne(s, r); err != nil {
				return err
			}
			after = r.Position
			if after == last {
				b.last = r.ID
			}
		}
		if page[len(page)-1].Position > end {
			after = end
		}
		b.advance(after - began)
	}
	return nil
}

func (b *rebuild) spreadOne(s *spill, r eventstore.Record) error {
	name, owner, err := r.Stream.Split()
	if err != nil {
		return &applyError{event: r.Type, position: r.Position, err: fmt.Errorf("%w: %w", ErrOutOfStep, err)}
	}
	category := slices.Index(categories, name)
	if category < 0 {
		return nil // only moves the position
	}
	if name == events.CategoryAccount {
		if err := s.add(b.partOf(owner), byte(category), owner, r); err != nil {
			return err
		}
		// What a new password does to sessions is done in the order of the log.
		if r.Type != events.TypePasswordChanged {
			return nil
		}
	}
	return s.add(b.accounts, byte(category), owner, r)
}

// partOf is the part that an account is in. The end of a ULID is random.
func (b *rebuild) partOf(account ulid.ULID) int {
	return int(binary.BigEndian.Uint32(account[12:]) % uint32(b.accounts))
}

// openAll decrypts what is to be folded.
func openAll(ctx context.Context, keys eventstore.Keys, records []eventstore.Record) ([]events.Event, error) {
	all := make([]events.Event, len(records))
	for i, r := range records {
		var err error
		if all[i], err = eventstore.OpenPayload(ctx, keys, r); err != nil {
			return nil, &applyError{event: r.Type, position: r.Position, err: err}
		}
	}
	return all, nil
}
