package sqlite

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"

	"konto/events"
	"konto/eventstore"
)

// format is the version of the schema. A newer konto may write a higher one, and this konto
// refuses it. A file of format 1 works as it is until ReplaceClaims converts it to format 2.
const format = 2

// schemas is the schema of each format. CheckStorage compares its text with the file,
// comments included, so it must never change.
var schemas = map[int]string{1: meta1 + claims1 + schema, 2: meta + claims + schema}

// idLength is the length of a log's id in bytes.
const idLength = 16

// receiptsByStream was added to existing files, because a konto that does not know it is not
// affected. Without it, dropping the receipts of a stream would read all receipts while
// every append waits.
const receiptsByStream = `CREATE INDEX IF NOT EXISTS receipts_by_stream ON receipts (stream);
`

// The triggers prevent accidents, such as statements that somebody runs on the file. REPLACE
// needs its own trigger, because it fires no delete trigger. CheckChain finds other changes.
const schema = `
CREATE TABLE events (
	position INTEGER PRIMARY KEY,
	stream   TEXT    NOT NULL,
	version  INTEGER NOT NULL,
	id       BLOB    NOT NULL,
	type     TEXT    NOT NULL,
	time     INTEGER NOT NULL, -- milliseconds since 1970, UTC
	metadata BLOB    NOT NULL,
	data     BLOB    NOT NULL,
	hash     BLOB    NOT NULL, -- eventstore.ChainHash of this record and all before it
	UNIQUE (stream, version)
) STRICT;

CREATE TABLE receipts (
	key     BLOB PRIMARY KEY,
	stream  TEXT    NOT NULL,
	data    BLOB    NOT NULL,
	expires INTEGER NOT NULL -- milliseconds since 1970, UTC
) STRICT, WITHOUT ROWID;

CREATE INDEX receipts_by_expiry ON receipts (expires);

` + receiptsByStream + `
CREATE TRIGGER events_are_never_updated BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;

CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;

CREATE TRIGGER events_are_never_replaced BEFORE INSERT ON events
WHEN EXISTS (SELECT 1 FROM events WHERE position = NEW.position)
	OR EXISTS (SELECT 1 FROM events WHERE stream = NEW.stream AND version = NEW.version)
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
`

const meta = `
CREATE TABLE meta (
	format INTEGER NOT NULL,
	id     BLOB    NOT NULL, -- tells this log, and its backups, from every other
	claims INTEGER NOT NULL, -- eventstore.ClaimRule.Number
	shared INTEGER NOT NULL  -- eventstore.ClaimRule.Shared
) STRICT;
`

const claims = `
CREATE TABLE claims (
	key    BLOB NOT NULL,
	stream TEXT NOT NULL,
	PRIMARY KEY (key, stream)
) STRICT, WITHOUT ROWID;
`

// The tables of format 1: each key had one stream, and the claims followed rule 1.
const (
	meta1 = `
CREATE TABLE meta (
	format INTEGER NOT NULL,
	id     BLOB    NOT NULL -- tells this log, and its backups, from every other
) STRICT;
`
	claims1 = `
CREATE TABLE claims (
	key    BLOB PRIMARY KEY,
	stream TEXT NOT NULL
) STRICT, WITHOUT ROWID;
`
)

// prepare creates the tables in an empty file, and checks the format of any other file.
func prepare(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var tables, named int
	row := tx.QueryRowContext(ctx, `SELECT count(*), count(*) FILTER (WHERE name = 'meta') FROM sqlite_schema WHERE type = 'table'`)
	if err := row.Scan(&tables, &named); err != nil {
		return err
	}
	switch {
	case tables == 0:
		if _, err := tx.ExecContext(ctx, schemas[format]); err != nil {
			return err
		}
		id := make([]byte, idLength)
		rand.Read(id) // never fails
		if err := writeMeta(ctx, tx, id, eventstore.ClaimRule{Number: events.ClaimRule}); err != nil {
			return err
		}
		return tx.Commit()
	case named == 0:
		return errors.New("a SQLite database, but no log of konto's")
	}
	var found int
	if err := tx.QueryRowContext(ctx, `SELECT format FROM meta`).Scan(&found); err != nil {
		return err
	}
	if found > format {
		return fmt.Errorf("log format %d is newer than %d, the newest that this konto knows", found, format)
	}
	if _, err := tx.ExecContext(ctx, receiptsByStream); err != nil {
		return err
	}
	return tx.Commit()
}
