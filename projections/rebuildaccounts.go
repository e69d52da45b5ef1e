package projections

import (
	"context"
	"crypto/cipher"
	"errors"
	"io"
	"slices"
	"sync/atomic"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/errgroup"

	"konto/events"
	"konto/eventstore"
)

// writePage is how many rows go to the writer at a time.
const writePage = 256

// foldAccounts folds the parts with accounts on all processors, and writes their
// rows.
func (b *rebuild) foldAccounts(ctx context.Context, spills []*spill) error {
	rows := make(chan [][]any, b.workers)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return b.writeRows(ctx, rows) })
	group.Go(func() error {
		defer close(rows)
		var part atomic.Int64
		folding, ctx := errgroup.WithContext(ctx)
		for range b.workers {
			folding.Go(func() error {
				for i := int(part.Add(1)) - 1; i < b.accounts; i = int(part.Add(1)) - 1 {
					if err := b.foldPart(ctx, readPart(spills, i), rows); err != nil {
						return err
					}
				}
				return nil
			})
		}
		return folding.Wait()
	})
	return group.Wait()
}

// writeRows inserts the accounts' rows.
func (b *rebuild) writeRows(ctx context.Context, pages <-chan [][]any) error {
	tx, err := b.next.file.writer.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	insert, err := tx.PrepareContext(ctx, "INSERT INTO account ("+accountColumns+") VALUES (?, ?, ?, ?, ?, ?, ?)")
	if err != nil {
		return err
	}
	defer insert.Close()
	for page := range pages {
		for _, row := range page {
			if _, err := insert.ExecContext(ctx, row...); err != nil {
				return err
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return tx.Commit()
}

// folding is an account that is being folded, with what its events need.
type folding struct {
	stream  events.Stream
	aead    cipher.AEAD // nil when the key was destroyed
	account events.Account
}

// foldPart folds the accounts of one part, and sends their rows.
func (b *rebuild) foldPart(ctx context.Context, from *spillReader, rows chan<- [][]any) error {
	accounts := make(map[ulid.ULID]*folding)
	var data []byte
	for n := uint64(0); ; n++ {
		if n == writePage {
			b.advance(n)
			if n = 0; ctx.Err() != nil {
				return ctx.Err()
			}
		}
		r, err := from.next()
		if errors.Is(err, io.EOF) {
			b.advance(n)
			break
		}
		if err != nil {
			return err
		}
		a := accounts[r.owner]
		if a == nil {
			a = &folding{stream: events.AccountStream(r.owner)}
			if a.aead, err = b.live.keys.Cipher(ctx, a.stream); err != nil && !errors.Is(err, eventstore.ErrDestroyed) {
				return &applyError{event: r.Type, position: r.Position, err: err}
			}
			accounts[r.owner] = a
		}
		if data, err = a.add(r.Record, data); err != nil {
			return &applyError{event: r.Type, position: r.Position, err: err}
		}
	}
	return b.sendRows(ctx, accounts, rows)
}

// add folds an event; data is space for what it says, which is used again.
func (a *folding) add(r eventstore.Record, data []byte) ([]byte, error) {
	r.Stream = a.stream
	e, err := eventstore.OpenPayloadWith(a.aead, r, data[:0])
	if err != nil {
		return data, err
	}
	payload, err := next(e, a.account.Version)
	if err != nil {
		return data, err
	}
	if a.account.Apply(e, payload); a.account.Version != e.Version {
		return data, misplaced(e)
	}
	return e.Data, nil
}

// sendRows seals what was folded, in order of id, which the index likes.
func (b *rebuild) sendRows(ctx context.Context, accounts map[ulid.ULID]*folding, rows chan<- [][]any) error {
	ids := make([]ulid.ULID, 0, len(accounts))
	for id := range accounts {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b ulid.ULID) int { return a.Compare(b) })
	for page := range slices.Chunk(ids, writePage) {
		sealed := make([][]any, len(page))
		for i, id := range page {
			content, err := accounts[id].seal()
			if err != nil {
				return err
			}
			sealed[i] = accountRow(id, &accounts[id].account, content)
			delete(accounts, id)
		}
		select {
		case rows <- sealed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// seal is sealAccount with the cipher at hand.
func (a *folding) seal() ([]byte, error) {
	if a.account.Erased {
		return []byte{}, nil
	}
	return sealWith(a.aead, a.stream, accountTable, &a.account)
}
