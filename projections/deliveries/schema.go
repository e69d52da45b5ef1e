package deliveries

import (
	"context"

	"konto/projections"
)

// schemaNumber is the number of the tables' shape. Raise it when they change: files of
// other numbers are emptied, and deliveries go on from the checkpoints in the log, which
// repeats some of them.
const schemaNumber = 3

// applicationID marks a SQLite file as a deliveries.db of konto ("kodl").
const applicationID = 0x6b6f646c

// Times are milliseconds since 1970, UTC; 0 stands for none. Ids are ULIDs. A comment inside of
// a statement is stored with the table, and CheckFile compares it: change it with schemaNumber
// only. Some such comments use older words, and table and column names do too.
const tables = `
-- A row for each third party that any other table has a row of.
CREATE TABLE party (
	id       BLOB PRIMARY KEY,
	position INTEGER -- of its reading of the log, null until it was set
) STRICT, WITHOUT ROWID;

-- A row is a Delivery. settled is when it was written, and is not read.
CREATE TABLE lane (
	party        BLOB    NOT NULL,
	account      BLOB    NOT NULL,
	version      INTEGER NOT NULL,
	position     INTEGER NOT NULL,
	settled      INTEGER NOT NULL,
	attempts     INTEGER NOT NULL,
	since        INTEGER NOT NULL,
	next         INTEGER NOT NULL,
	behind       INTEGER NOT NULL,
	delivered    INTEGER NOT NULL,
	delivered_at INTEGER NOT NULL,
	PRIMARY KEY (party, account)
) STRICT, WITHOUT ROWID;

-- Few of many accounts wait: the others cost this index nothing.
CREATE INDEX lane_waiting ON lane (party, next) WHERE attempts > 0 OR behind = 1;

-- The delivery log. Ids count up with time.
CREATE TABLE attempt (
	id       INTEGER PRIMARY KEY,
	party    BLOB    NOT NULL,
	account  BLOB    NOT NULL,
	event    BLOB    NOT NULL,
	type     TEXT    NOT NULL,
	position INTEGER NOT NULL,
	number   INTEGER NOT NULL,
	at       INTEGER NOT NULL,
	outcome  TEXT    NOT NULL,
	status   INTEGER NOT NULL,
	latency  INTEGER NOT NULL, -- microseconds
	excerpt  BLOB    NOT NULL  -- sealed with the account's key, empty when there is none
) STRICT;

-- Payway ids of erased accounts, as earlier builds kept them (MoveErasures). Both tables are
-- empty since. They can go when schemaNumber is raised for another reason.
CREATE TABLE notice (
	account BLOB    PRIMARY KEY,
	at      INTEGER NOT NULL,
	content BLOB    NOT NULL -- the Payway id, sealed
) STRICT, WITHOUT ROWID;

-- Names of erased accounts, likewise.
CREATE TABLE called (
	account BLOB    PRIMARY KEY,
	content BLOB    NOT NULL -- the names, sealed
) STRICT, WITHOUT ROWID;

CREATE INDEX attempt_party ON attempt (party);
CREATE INDEX attempt_account ON attempt (account);
`

// The queries that bind the file to the log's history.
const (
	boundAtQuery  = `SELECT position FROM progress`
	bindQuery     = `UPDATE progress SET position = ?, event = ?`
	addPartyQuery = `INSERT INTO party (id) VALUES (?) ON CONFLICT DO NOTHING`
)

// writerQueries are prepared on the writer's connection. Only transactions run them.
var writerQueries = []string{
	boundAtQuery, bindQuery, addPartyQuery,
	setPositionQuery, storedPositionQuery, saveQuery, deliveredQuery, resetQuery,
	rewindQuery, deletePartyRowsQuery, deletePartyAttemptsQuery, deletePartyQuery,
	deleteAccountRowsQuery, deleteAccountAttemptsQuery,
	addAttemptQuery, cutQuery, expireQuery, oldestQuery,
	deleteNoticesQuery, deleteCalledQuery,
}

// readerQueries are prepared on the readers' connections.
var readerQueries = []string{positionQuery, deliveryQuery}

// CheckFile checks the file as projections.LogFile.Check does; it may be open.
func CheckFile(ctx context.Context, cfg FileConfig) error { return cfg.logFile().Check(ctx) }

func (cfg FileConfig) logFile() projections.LogFile {
	return projections.LogFile{
		Path: cfg.Path, Application: applicationID, Schema: schemaNumber, Tables: tables,
		Log: cfg.Log, Keyring: cfg.Keys.Derive("deliveries"),
	}
}
