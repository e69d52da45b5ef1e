package sqlite

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"

	"konto/events"
	"konto/eventstore"
)

// format is the version of the schema. A file with a higher one was written by
// a newer konto and may hold what this one does not understand. A file of format 1
// works as it is until ReplaceClaims makes it one of format 2.
const format = 2

// schemas is what a file of each format consists of.
var schemas = map[int]string{1: meta1 + claims1 + schema, 2: meta + claims + schema}

// idLength is how many bytes name a log.
const idLength = 16

// receiptsByStream was added to files of this format later on: it changes nothing
// for a konto that does not know of it. Without it, dropping the receipts of one
// stream would read those of all while every append waits.
const receiptsByStream = `CREATE INDEX IF NOT EXISTS receipts_by_stream ON receipts (stream);
`

// The triggers stand against accidents: statements typed into the file, bugs of
// a later konto. REPLACE needs one of its own, because the rows that it
// displaces fire no delete trigger. What gets past them is found by CheckChain.
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

// The tables that format 1 had in place of these: each key had one stream, and the claims
// were those of rule 1.
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

// prepare makes the tables in an empty file and checks the format of any other.
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
		return fmt.Errorf("a SQLite database, but no log of konto's")
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
