package projections

import (
	"context"
	"database/sql"

	"github.com/oklog/ulid/v2"
)

// storedBytes is a row as it is stored.
type storedBytes struct {
	id      ulid.ULID
	columns []any // in clear
	content []byte
}

// tableRows reads a table page by page, in order of id.
type tableRows struct {
	query          func(context.Context, string, ...any) (*sql.Rows, error)
	table, columns string
	page           []storedBytes
	after          ulid.ULID
	over           bool
}

// peek returns the next row, which stays the next until it is taken.
func (t *tableRows) peek(ctx context.Context) (row storedBytes, ok bool, err error) {
	if len(t.page) == 0 && !t.over {
		rows, err := t.query(ctx, "SELECT "+t.columns+" FROM "+t.table+" WHERE id > ? ORDER BY id LIMIT ?", t.after[:], comparePage)
		if err != nil {
			return row, false, err
		}
		if t.page, err = collect(rows, scanBytes(rows)); err != nil {
			return row, false, err
		}
		t.over = len(t.page) < comparePage
	}
	if len(t.page) == 0 {
		return row, false, nil
	}
	return t.page[0], true, nil
}

func (t *tableRows) take() {
	t.after, t.page = t.page[0].id, t.page[1:]
}

// scanBytes reads rows whose first column is the id, and whose last one the content.
func scanBytes(rows *sql.Rows) func(scanner) (storedBytes, error) {
	names, err := rows.Columns()
	return func(scan scanner) (storedBytes, error) {
		if err != nil {
			return storedBytes{}, err
		}
		row := storedBytes{columns: make([]any, len(names)-2)}
		dest := []any{&row.id}
		for i := range row.columns {
			dest = append(dest, &row.columns[i])
		}
		return row, scan(append(dest, &row.content)...)
	}
}
