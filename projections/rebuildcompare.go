package projections

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

// Difference tells how the rows of one table in use differ from those that the
// log gives.
type Difference struct {
	Table     string   `json:"table"`
	Missing   int      `json:"missing"`   // rows that are not there
	Surplus   int      `json:"surplus"`   // rows that nothing in the log gives
	Different int      `json:"different"` // rows that say something else, or cannot be read
	First     []string `json:"first"`     // the lowest of their ids, up to firstIDs
}

const (
	firstIDs    = 10
	comparePage = 500 // after how many rows progress is told
)

// compare compares the next file with the one in use, as that is at one moment: it
// reads it in one transaction, and the next file catches up with the position
// of that transaction first.
func (b *rebuild) compare(ctx context.Context) (position uint64, found []Difference, err error) {
	live, err := b.live.file.readers.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return 0, nil, err
	}
	defer live.Rollback()
	if err := live.QueryRowContext(ctx, "SELECT position FROM progress").Scan(&position); err != nil {
		return 0, nil, err
	}
	if err := b.follow(ctx, position); err != nil {
		return 0, nil, err
	}
	var total uint64
	if err := live.QueryRowContext(ctx, "SELECT (SELECT count(*) FROM account) + (SELECT count(*) FROM credential) + (SELECT count(*) FROM third_party)").Scan(&total); err != nil {
		return 0, nil, err
	}
	b.begin(total, "rows compared")
	found = []Difference{}
	for _, table := range []struct{ category, name string }{
		{events.CategoryAccount, accountTable},
		{events.CategoryCredential, credentialTable},
		{events.CategoryThirdParty, thirdPartyTable},
	} {
		d, err := b.compareTable(ctx, live, table.category)
		if err != nil {
			return 0, nil, err
		}
		if d.Table = table.name; len(d.First) > 0 {
			found = append(found, d)
		}
	}
	b.finish()
	return position, found, nil
}

// compareTable goes through the rows of a category in both files, in order of id.
func (b *rebuild) compareTable(ctx context.Context, tx *sql.Tx, category string) (d Difference, err error) {
	live, err := openTable(ctx, b.live, tx.QueryContext, category)
	if err != nil {
		return d, err
	}
	defer live.rows.Close()
	next, err := openTable(ctx, b.next, b.next.file.readers.QueryContext, category)
	if err != nil {
		return d, err
	}
	defer next.rows.Close()
	differs := func(count *int, id ulid.ULID) {
		if *count++; len(d.First) < firstIDs {
			d.First = append(d.First, id.String())
		}
	}
	compared := uint64(0)
	defer func() { b.advance(compared) }()
	for live.ok || next.ok {
		if compared++; compared == comparePage {
			b.advance(compared)
			compared = 0
		}
		order := live.row.ID.Compare(next.row.ID)
		switch {
		case !next.ok || live.ok && order < 0:
			differs(&d.Surplus, live.row.ID)
			err = live.next(ctx)
		case !live.ok || order > 0:
			differs(&d.Missing, next.row.ID)
			err = next.next(ctx)
		default:
			var same bool
			if same, err = b.same(ctx, tx, category, live.row, next.row); err != nil {
				return d, err
			}
			if !same {
				differs(&d.Different, live.row.ID)
			}
			if err = live.next(ctx); err == nil {
				err = next.next(ctx)
			}
		}
		if err != nil {
			return d, err
		}
	}
	return d, nil
}

// same tells whether two rows say the same. Two that differ are read once more,
// because the key of their stream may have been destroyed after only one was read.
func (b *rebuild) same(ctx context.Context, tx *sql.Tx, category string, live, next StoredRow) (_ bool, err error) {
	if live.Err == nil && next.Err == nil && live.Text == next.Text {
		return true, nil
	}
	query := storedQueries[category] + " WHERE id = ?"
	if live, err = b.live.storedRow(ctx, category, tx.QueryRowContext(ctx, query, live.ID[:]).Scan); err != nil {
		return false, err
	}
	if next, err = b.next.storedRow(ctx, category, b.next.file.readers.QueryRowContext(ctx, query, next.ID[:]).Scan); err != nil {
		return false, err
	}
	if next.Err != nil {
		return false, fmt.Errorf("read %s-%s as it was rebuilt: %w", category, next.ID, next.Err)
	}
	return live.Err == nil && live.Text == next.Text, nil
}

// tableReader reads the rows of a category in order of id, one at a time.
type tableReader struct {
	model    *ReadModel
	category string
	rows     *sql.Rows
	row      StoredRow
	ok       bool // row is one; false after the last
}

func openTable(ctx context.Context, model *ReadModel, query func(context.Context, string, ...any) (*sql.Rows, error), category string) (*tableReader, error) {
	rows, err := query(ctx, storedQueries[category]+" ORDER BY id")
	if err != nil {
		return nil, err
	}
	t := &tableReader{model: model, category: category, rows: rows}
	return t, t.next(ctx)
}

func (t *tableReader) next(ctx context.Context) (err error) {
	if t.ok = t.rows.Next(); !t.ok {
		return t.rows.Err()
	}
	t.row, err = t.model.storedRow(ctx, t.category, t.rows.Scan)
	return err
}
