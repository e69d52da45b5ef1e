package projections

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/errgroup"

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
	if err := b.catchUp(ctx, position); err != nil {
		return 0, nil, err
	}
	var total uint64
	if err := live.QueryRowContext(ctx, "SELECT (SELECT count(*) FROM account) + (SELECT count(*) FROM credential) + (SELECT count(*) FROM third_party)").Scan(&total); err != nil {
		return 0, nil, err
	}
	b.begin(total, "rows compared")
	found = make([]Difference, len(storedTables))
	group, ctx := errgroup.WithContext(ctx)
	for i, table := range storedTables {
		group.Go(func() (err error) {
			found[i], err = b.compareTable(ctx, live, table.category, table.name)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return 0, nil, err
	}
	found = slices.DeleteFunc(found, func(d Difference) bool { return len(d.First) == 0 })
	b.finish()
	return position, found, nil
}

var storedTables = []struct{ category, name string }{
	{events.CategoryAccount, accountTable},
	{events.CategoryCredential, credentialTable},
	{events.CategoryThirdParty, thirdPartyTable},
}

// compareTable goes through the rows of a table in both files, in order of id.
func (b *rebuild) compareTable(ctx context.Context, tx *sql.Tx, category, table string) (d Difference, err error) {
	d.Table = table
	live, err := openTable(tx.QueryContext(ctx, storedQueries[category]+" ORDER BY id"))
	if err != nil {
		return d, err
	}
	defer live.rows.Close()
	next, err := openTable(b.next.file.readers.QueryContext(ctx, storedQueries[category]+" ORDER BY id"))
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
		order := live.id.Compare(next.id)
		switch {
		case !next.ok || live.ok && order < 0:
			differs(&d.Surplus, live.id)
			err = live.next()
		case !live.ok || order > 0:
			differs(&d.Missing, next.id)
			err = next.next()
		default:
			same := b.sameBytes(ctx, category, table, live, next)
			if !same {
				same, err = b.sameServed(ctx, tx, category, live.id)
			}
			if err != nil {
				return d, err
			}
			if !same {
				differs(&d.Different, live.id)
			}
			if err = live.next(); err == nil {
				err = next.next()
			}
		}
		if err != nil {
			return d, err
		}
	}
	return d, nil
}

// sameBytes reports whether two rows have the same columns, and contents that can be
// unsealed and are the same. Most often they do, and nothing has to be decoded.
func (b *rebuild) sameBytes(ctx context.Context, category, table string, live, next *tableReader) bool {
	content := len(live.columns) - 1
	if !slices.EqualFunc(live.columns[:content], next.columns[:content], func(x, y sql.RawBytes) bool {
		return (x == nil) == (y == nil) && bytes.Equal(x, y)
	}) {
		return false
	}
	x, y := live.columns[content], next.columns[content]
	if len(x) == 0 && len(y) == 0 {
		return true
	}
	stream := events.Stream(category + "-" + live.id.String())
	aead, err := b.live.keys.Cipher(ctx, stream)
	if err != nil {
		return false
	}
	bound := binding(stream, table)
	x, errX := aead.Open(nil, nil, x, bound)
	y, errY := aead.Open(nil, nil, y, bound)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// sameServed reports whether two rows say the same when they are read with the code
// that serves them. Of a row whose key is destroyed, not each column counts.
func (b *rebuild) sameServed(ctx context.Context, tx *sql.Tx, category string, id ulid.ULID) (bool, error) {
	query := storedQueries[category] + " WHERE id = ?"
	live, err := b.live.storedRow(ctx, category, tx.QueryRowContext(ctx, query, id[:]).Scan)
	if err != nil {
		return false, err
	}
	next, err := b.next.storedRow(ctx, category, b.next.file.readers.QueryRowContext(ctx, query, id[:]).Scan)
	if err == nil && next.Err != nil {
		err = fmt.Errorf("read %s-%s as it was rebuilt: %w", category, id, next.Err)
	}
	return live.Err == nil && live.Text == next.Text, err
}

// tableReader reads rows in order of id, one at a time, as they are stored.
type tableReader struct {
	rows    *sql.Rows
	ok      bool // there is a row; false after the last
	id      ulid.ULID
	columns []sql.RawBytes // after the id; the last one is the content
	scanned []any          // pointers to id and columns
}

func openTable(rows *sql.Rows, err error) (*tableReader, error) {
	if err != nil {
		return nil, err
	}
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	t := &tableReader{rows: rows, columns: make([]sql.RawBytes, len(names)-1)}
	t.scanned = append(t.scanned, &t.id)
	for i := range t.columns {
		t.scanned = append(t.scanned, &t.columns[i])
	}
	return t, t.next()
}

func (t *tableReader) next() error {
	if t.ok = t.rows.Next(); !t.ok {
		return t.rows.Err()
	}
	return t.rows.Scan(t.scanned...)
}
