package sqlitefile

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/mattn/go-sqlite3"
)

// ErrOtherSchema is matched by CheckSchema's error for a file that does not
// consist of what it should. What is in it may be right all the same.
var ErrOtherSchema = errors.New("not the schema that konto made")

// CheckSchema compares what a file consists of, its tables, indexes and triggers
// and the marks in its header, with what statements make of an empty one.
func CheckSchema(ctx context.Context, db *sql.DB, statements string) error {
	empty := sql.OpenDB(&connector{uri: "file::memory:", driver: sqlite3.SQLiteDriver{}})
	defer empty.Close()
	empty.SetMaxOpenConns(1) // each connection has a database of its own
	if _, err := empty.ExecContext(ctx, statements); err != nil {
		return err
	}
	want, err := objects(ctx, empty)
	if err != nil {
		return err
	}
	found, err := objects(ctx, db)
	if err != nil {
		return fmt.Errorf("read the schema: %w", Explain(err))
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		switch text, ok := found[name]; {
		case !ok:
			return fmt.Errorf("%w: %s is missing", ErrOtherSchema, name)
		case text != want[name]:
			return fmt.Errorf("%w: %s is another one", ErrOtherSchema, name)
		}
	}
	if len(found) > len(want) {
		return fmt.Errorf("%w: there are %d objects more", ErrOtherSchema, len(found)-len(want))
	}
	return nil
}

// objects reads what a database consists of: the text that made each object,
// under its kind and name, and its marks.
func objects(ctx context.Context, db *sql.DB) (map[string]string, error) {
	all := make(map[string]string)
	for _, mark := range []string{"application_id", "user_version", "encoding", "auto_vacuum"} {
		var value string
		if err := db.QueryRowContext(ctx, "PRAGMA "+mark).Scan(&value); err != nil {
			return nil, err
		}
		all["the mark "+mark] = value
	}
	rows, err := db.QueryContext(ctx, "SELECT type || ' ' || name, tbl_name || ': ' || coalesce(sql, '') FROM sqlite_schema")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name, text string
		if err := rows.Scan(&name, &text); err != nil {
			return nil, err
		}
		all[name] = text
	}
	return all, rows.Err()
}
