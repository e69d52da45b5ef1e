package projections

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"

	"github.com/oklog/ulid/v2"

	"konto/eventstore"
	"konto/eventstore/sqlitefile"
)

// LogFile is a SQLite file whose content follows from the log. It belongs to one
// history of one log and to one keyring. If it is opened with others, it is recreated.
type LogFile struct {
	Path string
	// Application marks files of this kind (PRAGMA application_id), so that konto
	// never deletes another program's file.
	Application int32
	// Schema is the number of the shape of the tables and of the rows in them. Files
	// with other numbers are recreated.
	Schema int
	Tables string // the statements that create the tables
	Log    eventstore.Feed
	// Keyring is a secret of the keyring that seals the rows, or of the one
	// that seals the log. A file with another secret belongs to another keyring.
	Keyring []byte
	// Copy says that the whole file follows from the log. A power cut may then lose
	// the last commits, rows together with their position; they are made again.
	Copy bool
}

// progress is the table that binds a file to a log. A transaction that writes rows
// which follow from an event also stores the highest position of such events here.
const progress = `
CREATE TABLE progress (
	one      INTEGER PRIMARY KEY CHECK (one = 1),
	keyring  BLOB    NOT NULL, -- whose keys seal the rows
	position INTEGER NOT NULL, -- of the last event that the file knows of
	event    BLOB    NOT NULL  -- its id, zeros when there is none
);
`

// fileState is what inspect finds out about a file.
type fileState int

const (
	fileUnknown fileState = iota
	fileEmpty             // just created
	fileCurrent           // may be used as it is
	fileStale             // of this kind, with another schema, keyring or history
	fileForeign           // another program's
)

// Open opens the file for its one writer. It creates the tables, and recreates a
// file that does not fit. Errors: sqlitefile.ErrMalformed and others; the file is then
// left as it was.
func (f LogFile) Open(ctx context.Context) (*sql.DB, error) {
	db, err := f.openWriter()
	if err != nil {
		return nil, err
	}
	state, err := f.inspect(ctx, db)
	if state == fileStale {
		if db, err = f.recreate(db); err != nil {
			return nil, err
		}
		state = fileEmpty
	}
	switch {
	case err != nil:
	case state == fileEmpty:
		err = f.createTables(ctx, db)
	case state == fileForeign:
		err = errors.New("it is another program's file; move it away, konto will make its own")
	}
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("open %s: %w", f.Path, err)
	}
	return db, nil
}

func (f LogFile) inspect(ctx context.Context, db *sql.DB) (fileState, error) {
	var application, schema, objects int
	for query, value := range map[string]*int{
		"PRAGMA application_id":              &application,
		"PRAGMA user_version":                &schema,
		"SELECT count(*) FROM sqlite_schema": &objects,
	} {
		if err := db.QueryRowContext(ctx, query).Scan(value); err != nil {
			return fileUnknown, sqlitefile.Explain(err)
		}
	}
	switch {
	case application == 0 && objects == 0:
		return fileEmpty, nil
	case application != int(f.Application):
		return fileForeign, nil
	case schema != f.Schema:
		return fileStale, nil
	}
	var madeWith []byte
	var position uint64
	var event ulid.ULID
	err := db.QueryRowContext(ctx, "SELECT keyring, position, event FROM progress").Scan(&madeWith, &position, &event)
	if err != nil {
		return fileUnknown, sqlitefile.Explain(err)
	}
	if !bytes.Equal(madeWith, f.Keyring) {
		return fileStale, nil
	}
	same, err := holds(ctx, f.Log, position, event)
	switch {
	case err != nil:
		return fileUnknown, fmt.Errorf("compare it with the log: %w", err)
	case !same:
		return fileStale, nil
	}
	return fileCurrent, nil
}

// holds reports whether the log has the event at the position. A log that was
// restored from an older copy and has grown again has other events at positions that
// were reached before, or ends below them. The stored record is compared, because the
// event's key may be destroyed.
func holds(ctx context.Context, log eventstore.Feed, position uint64, event ulid.ULID) (bool, error) {
	if position == 0 {
		return true, nil
	}
	next, err := log.ReadAll(ctx, position-1, 1)
	return len(next) == 1 && next[0].Position == position && next[0].ID == event, err
}

// openWriter opens the file as it is.
func (f LogFile) openWriter() (*sql.DB, error) {
	if f.Copy {
		return sqlitefile.OpenCopyWriter(f.Path)
	}
	return sqlitefile.OpenWriter(f.Path)
}

// recreate deletes the file and opens a new one. It closes the file first, so that
// SQLite moves the write-ahead log into it: a log that is left behind would be played
// into the new file.
func (f LogFile) recreate(db *sql.DB) (*sql.DB, error) {
	if err := db.Close(); err != nil {
		return nil, fmt.Errorf("close %s to recreate it: %w", f.Path, err)
	}
	if err := removeDatabase(f.Path); err != nil {
		return nil, fmt.Errorf("recreate %s: %w", f.Path, err)
	}
	return f.openWriter()
}

// removeDatabase deletes a SQLite file that is not open. It deletes the file itself last.
func removeDatabase(path string) error {
	for _, name := range []string{path + "-wal", path + "-shm", path + "-journal", path} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (f LogFile) createTables(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return sqlitefile.Explain(err)
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, f.statements()); err != nil {
		return fmt.Errorf("create tables: %w", sqlitefile.Explain(err))
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO progress (one, keyring, position, event) VALUES (1, ?, 0, ?)", f.Keyring, ulid.Zero[:]); err != nil {
		return fmt.Errorf("create tables: %w", sqlitefile.Explain(err))
	}
	return sqlitefile.Explain(tx.Commit())
}

// statements returns the statements that create a new file's content. Both pragmas are
// part of the transaction: a file has them and the tables, or neither.
func (f LogFile) statements() string {
	return fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d;", f.Application, f.Schema) + progress + f.Tables
}
