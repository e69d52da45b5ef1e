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

// schemaNumber names the shape of the tables and of the rows in them, with all
// that the fold puts there. Raise it when any of these changes: files of other
// numbers are made anew from the log.
const schemaNumber = 4

// applicationID marks a SQLite file as a read model of konto ("kord"), so that
// no other file is ever taken for one and deleted.
const applicationID = 0x6b6f7264

const tables = `
CREATE TABLE progress (
	one      INTEGER PRIMARY KEY CHECK (one = 1),
	keyring  BLOB    NOT NULL, -- whose keys seal the rows
	position INTEGER NOT NULL, -- of the last event applied
	event    BLOB    NOT NULL  -- its id, zeros when there is none
);
CREATE TABLE cursor (
	name  TEXT PRIMARY KEY,
	value BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE account (
	id      BLOB    PRIMARY KEY,
	erased  INTEGER NOT NULL, -- then content is not sealed: its key may be gone
	content BLOB    NOT NULL  -- events.Account as JSON, sealed
);
CREATE TABLE credential (
	id       BLOB PRIMARY KEY,
	consumer TEXT,         -- name of a usable consumer key, else null
	account  BLOB,         -- that an open session acts for, else null
	parent   BLOB,         -- that an open session was delegated by, else null
	content  BLOB NOT NULL -- events.Credential as JSON, sealed
);
CREATE INDEX credential_account ON credential (account) WHERE account IS NOT NULL;
CREATE INDEX credential_parent ON credential (parent) WHERE parent IS NOT NULL;
CREATE INDEX credential_consumer ON credential (consumer) WHERE consumer IS NOT NULL;
`

// fileState is what a file turns out to be when it is opened.
type fileState int

const (
	fileUnknown fileState = iota
	fileEmpty             // just made
	fileCurrent           // to go on with
	fileStale             // a read model, of another schema, keyring or history
	fileForeign           // something else's
)

// openWriter opens the file with this version's tables in it, made anew if need be.
func openWriter(ctx context.Context, path string, log eventstore.Feed, keyring []byte) (*sql.DB, error) {
	db, err := sqlitefile.OpenWriter(path)
	if err != nil {
		return nil, err
	}
	state, err := inspect(ctx, db, log, keyring)
	if state == fileStale {
		if db, err = recreate(db, path); err != nil {
			return nil, err
		}
		state = fileEmpty
	}
	switch {
	case err != nil:
	case state == fileEmpty:
		err = createTables(ctx, db, keyring)
	case state == fileForeign:
		err = errors.New("it is another program's file; move it away, konto will make its own")
	}
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return db, nil
}

func inspect(ctx context.Context, db *sql.DB, log eventstore.Feed, keyring []byte) (fileState, error) {
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
	case application != applicationID:
		return fileForeign, nil
	case schema != schemaNumber:
		return fileStale, nil
	}
	var madeWith []byte
	var position uint64
	var event ulid.ULID
	err := db.QueryRowContext(ctx, "SELECT keyring, position, event FROM progress").Scan(&madeWith, &position, &event)
	if err != nil {
		return fileUnknown, sqlitefile.Explain(err)
	}
	if !bytes.Equal(madeWith, keyring) {
		return fileStale, nil
	}
	same, err := holds(ctx, log, position, event)
	switch {
	case err != nil:
		return fileUnknown, fmt.Errorf("compare it with the log: %w", err)
	case !same:
		return fileStale, nil
	}
	return fileCurrent, nil
}

// holds tells whether the log has the event at the position. A log that was
// restored from an older copy and grew again has other events at positions that
// were reached before, or ends below them. It is asked for the record as it is
// stored: the event's key may be gone by now.
func holds(ctx context.Context, log eventstore.Feed, position uint64, event ulid.ULID) (bool, error) {
	if position == 0 {
		return true, nil
	}
	next, err := log.ReadAll(ctx, position-1, 1)
	return len(next) == 1 && next[0].Position == position && next[0].ID == event, err
}

// recreate deletes the file. Closing it first lets SQLite fold the write-ahead
// log into it: a log left behind would be played into the new file.
func recreate(db *sql.DB, path string) (*sql.DB, error) {
	if err := db.Close(); err != nil {
		return nil, fmt.Errorf("close %s to make it anew: %w", path, err)
	}
	for _, name := range []string{path + "-wal", path + "-shm", path} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("make %s anew: %w", path, err)
		}
	}
	return sqlitefile.OpenWriter(path)
}

func createTables(ctx context.Context, db *sql.DB, keyring []byte) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return sqlitefile.Explain(err)
	}
	defer tx.Rollback()
	// Both pragmas are part of the transaction: a file has them and the tables, or neither.
	marks := fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d;", applicationID, schemaNumber)
	if _, err := tx.ExecContext(ctx, marks+tables); err != nil {
		return fmt.Errorf("create tables: %w", sqlitefile.Explain(err))
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO progress (one, keyring, position, event) VALUES (1, ?, 0, ?)", keyring, ulid.Zero[:]); err != nil {
		return fmt.Errorf("create tables: %w", sqlitefile.Explain(err))
	}
	return sqlitefile.Explain(tx.Commit())
}
