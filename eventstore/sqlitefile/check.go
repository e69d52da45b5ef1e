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

// ErrOtherSchema is matched by CheckSchema's error if a file has another schema. The data may
// still be correct.
var ErrOtherSchema = errors.New("not the schema that konto made")

// CheckSchema compares the tables, indexes, triggers and header fields of a file with those that
// statements create in an empty file.
func CheckSchema(ctx context.Context, db *sql.DB, statements string) error {
	empty := sql.OpenDB(&connector{uri: "file::memory:", driver: sqlite3.SQLiteDriver{}})
	defer empty.Close()
	empty.SetMaxOpenConns(1) // each connection has a database of its own
	if _, err := empty.ExecContext(ctx, statements); err != nil {
		return err
	}
	want, err := schemaOf(ctx, empty)
	if err != nil {
		return err
	}
	found, err := schemaOf(ctx, db)
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
		return fmt.Errorf("%w: there are %d more objects", ErrOtherSchema, len(found)-len(want))
	}
	return nil
}

// schemaOf returns the statement that created each object, by kind and name, and the header
// fields.
func schemaOf(ctx context.Context, db *sql.DB) (map[string]string, error) {
	all := make(map[string]string)
	for _, field := range []string{"application_id", "user_version", "encoding", "auto_vacuum"} {
		var value string
		if err := db.QueryRowContext(ctx, "PRAGMA "+field).Scan(&value); err != nil {
			return nil, err
		}
		all["the header field "+field] = value
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

// CheckIntegrity lets SQLite check every page of a file: rows, indexes and free pages. Errors:
// fs.ErrNotExist, ErrMalformed.
func CheckIntegrity(ctx context.Context, path string) error {
	db, err := OpenReaders(path, 1)
	if err != nil {
		return err
	}
	defer db.Close()
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&verdict); err != nil {
		return fmt.Errorf("check %s: %w", path, Explain(err))
	}
	if verdict != "ok" { // the verdict may quote stored data
		return fmt.Errorf("check %s: %w", path, ErrMalformed)
	}
	return nil
}
