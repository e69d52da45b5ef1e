package projections

import (
	"context"
	"errors"
	"io"

	"konto/events"
	"konto/eventstore"
)

// othersPage is how many events are folded before what they changed is written.
const othersPage = 2000

// foldOthers folds what is not an account, in the order of the log and as it is
// folded when it happens: a new password of an account reaches into the streams of
// its sessions.
func (b *rebuild) foldOthers(ctx context.Context, spills []*spill) error {
	from := readPart(spills, b.accounts)
	for {
		n, err := b.foldOthersPage(ctx, from)
		if err != nil || n == 0 {
			return err
		}
		b.advance(n)
	}
}

func (b *rebuild) foldOthersPage(ctx context.Context, from *spillReader) (n uint64, err error) {
	tx, err := b.next.file.writer.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	f := newFold(b.next, tx)
	for ; n < othersPage; n++ {
		r, err := from.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return n, err
		}
		if err := b.foldOther(ctx, f, r); err != nil {
			return n, &applyError{event: r.Type, position: r.Position, err: err}
		}
	}
	if err := f.write(ctx); err != nil {
		return n, err
	}
	if err := tx.Commit(); err != nil {
		return n, err
	}
	b.next.credentials.committed(f.credentials)
	return n, nil
}

func (b *rebuild) foldOther(ctx context.Context, f *fold, r spilled) error {
	r.Stream = events.Stream(categories[r.category] + "-" + r.owner.String())
	e, err := eventstore.OpenPayload(ctx, b.live.keys, r.Record)
	if err != nil {
		return err
	}
	if categories[r.category] != events.CategoryAccount {
		return f.add(ctx, e)
	}
	payload, err := e.Payload()
	if err != nil {
		return err
	}
	if changed, ok := payload.(events.PasswordChanged); ok {
		return f.closeSessions(ctx, r.owner, changed.Session, e.Time)
	}
	return nil
}
