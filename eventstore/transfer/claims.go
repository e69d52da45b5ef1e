package transfer

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"konto/events"
	"konto/eventstore"
)

// folders is how many accounts are folded at once.
const folders = 8

// claims takes the keys that accounts hold as of their last event.
func (m *importer) claims(ctx context.Context) error {
	accounts := slices.Sorted(maps.Keys(m.accounts))
	total := uint64(len(accounts))
	for done := 0; done < len(accounts); {
		part := accounts[done:min(done+page, len(accounts))]
		batches, err := m.claimsOf(ctx, part)
		if err != nil {
			return err
		}
		if _, err := m.append(ctx, batches); err != nil {
			return fmt.Errorf("claims: %w", err)
		}
		done += len(part)
		m.Tell(m.from.header.Head+uint64(done), m.from.header.Head+total)
	}
	return nil
}

// claimsOf folds accounts and gives what takes their keys.
func (m *importer) claimsOf(ctx context.Context, accounts []events.Stream) ([]eventstore.Batch, error) {
	batches := make([]eventstore.Batch, len(accounts))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(folders)
	for i, stream := range accounts {
		group.Go(func() error {
			account, err := m.fold(ctx, stream)
			if err != nil {
				return err
			}
			batches[i] = eventstore.Batch{Stream: stream, Expected: account.Version}
			for _, claim := range account.Claims() {
				batches[i].Claims = append(batches[i].Claims, eventstore.ClaimOp{Key: m.Store.ClaimKey(claim)})
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(batches, func(b eventstore.Batch) bool { return len(b.Claims) == 0 }), nil
}

// fold reads an account back from the log that was made: what cannot be read
// there is found out now.
func (m *importer) fold(ctx context.Context, stream events.Stream) (account events.Account, err error) {
	if err = m.Store.Fold(ctx, stream, m.accounts[stream], &account.Version, account.Apply); err != nil {
		return account, err
	}
	if account.Version < m.accounts[stream] {
		return account, fmt.Errorf("%s ends at version %d, not %d", stream, account.Version, m.accounts[stream])
	}
	return account, nil
}
