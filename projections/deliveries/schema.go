package deliveries

import (
	"context"
	"database/sql"

	"konto/projections"
)

// schemaNumber names the shape of the ledger's tables. Raise it when they
// change: files of other numbers are emptied, and deliveries go on from the
// checkpoints in the log, which repeats some of them.
const schemaNumber = 3

// applicationID marks a SQLite file as a ledger of konto ("kodl").
const applicationID = 0x6b6f646c

// Times are milliseconds since 1970, UTC; 0 stands for none. Ids are ULIDs.
const tables = `
-- A row for each third party that any other table has a row of.
CREATE TABLE party (
	id       BLOB PRIMARY KEY,
	position INTEGER -- of its reading of the log, null until it was set
) STRICT, WITHOUT ROWID;

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

-- Ids count up with time.
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

-- What is still to be told of accounts whose keys are destroyed (notices.go).
CREATE TABLE notice (
	account BLOB    PRIMARY KEY,
	at      INTEGER NOT NULL,
	content BLOB    NOT NULL -- the Payway id, sealed
) STRICT, WITHOUT ROWID;

-- What accounts whose keys are destroyed were called, as long as others' messages
-- that name them may be kept somewhere (names.go).
CREATE TABLE called (
	account BLOB    PRIMARY KEY,
	content BLOB    NOT NULL -- the names, sealed
) STRICT, WITHOUT ROWID;

CREATE INDEX attempt_party ON attempt (party);
CREATE INDEX attempt_account ON attempt (account);
`

func openWriter(ctx context.Context, cfg LedgerConfig) (*sql.DB, error) {
	return cfg.logFile().Open(ctx)
}

// CheckLedger checks the file as projections.LogFile.Check does; it may be open.
func CheckLedger(ctx context.Context, cfg LedgerConfig) error { return cfg.logFile().Check(ctx) }

func (cfg LedgerConfig) logFile() projections.LogFile {
	return projections.LogFile{
		Path: cfg.Path, Application: applicationID, Schema: schemaNumber, Tables: tables,
		Log: cfg.Log, Keyring: cfg.Keys.Derive("deliveries"),
	}
}

// statements are the writer's, prepared once. Only a transaction runs them.
type statements struct {
	known, reached, reach         *sql.Stmt
	position, setPosition         *sql.Stmt
	setLane, beginAnew, took      *sql.Stmt
	insert, bound, expire, oldest *sql.Stmt
	rewind                        *sql.Stmt
	dropLanes, dropAttempts, drop *sql.Stmt
	forgetLanes, forgetAttempts   *sql.Stmt
	keepNotice, dropNotice        *sql.Stmt
	keepNames, dropNames          *sql.Stmt
}

func prepareStatements(ctx context.Context, db *sql.DB) (s statements, err error) {
	for text, statement := range map[string]**sql.Stmt{
		`INSERT INTO party (id) VALUES (?) ON CONFLICT DO NOTHING`: &s.known,
		`SELECT position FROM progress`:                            &s.reached,
		`UPDATE progress SET position = ?, event = ?`:              &s.reach,
		`SELECT position FROM party WHERE id = ?`:                  &s.position,
		`INSERT INTO party (id, position) VALUES (?, ?)
			ON CONFLICT DO UPDATE SET position = excluded.position`: &s.setPosition,
		`INSERT INTO lane (party, account, version, position, settled, attempts, since, next, behind, delivered, delivered_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0)
			ON CONFLICT DO UPDATE SET version = excluded.version, position = excluded.position, settled = excluded.settled,
				attempts = excluded.attempts, since = excluded.since, next = excluded.next, behind = excluded.behind`: &s.setLane,
		`UPDATE lane SET attempts = 0, since = 0, next = 0, behind = 1
			WHERE party = ? AND (attempts > 0 OR behind = 1)`: &s.beginAnew,
		`UPDATE lane SET delivered = ?3, delivered_at = ?4 WHERE party = ?1 AND account = ?2 AND delivered <= ?3`: &s.took,
		`INSERT INTO attempt (party, account, event, type, position, number, at, outcome, status, latency, excerpt)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`: &s.insert,
		`DELETE FROM attempt WHERE party = ?1 AND id <=
			(SELECT id FROM attempt WHERE party = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)`: &s.bound,
		`DELETE FROM attempt WHERE id IN (SELECT id FROM attempt ORDER BY id LIMIT ?) AND at < ?`: &s.expire,
		// Of those that are next to expire: ids count up with time.
		`SELECT coalesce(min(at), ?2) FROM (SELECT at FROM attempt ORDER BY id LIMIT ?1)`: &s.oldest,
		`DELETE FROM lane WHERE party = ? AND position > ?`:                               &s.rewind,
		`DELETE FROM lane WHERE party = ? AND account IN
			(SELECT account FROM lane WHERE party = ? LIMIT ?)`: &s.dropLanes,
		`DELETE FROM attempt WHERE id IN (SELECT id FROM attempt WHERE party = ? LIMIT ?)`: &s.dropAttempts,
		`DELETE FROM party WHERE id = ?`: &s.drop,
		`DELETE FROM lane WHERE party IN (SELECT id FROM party) AND account = ?
			AND attempts = 0 AND behind = 0`: &s.forgetLanes,
		`DELETE FROM attempt WHERE account = ?`: &s.forgetAttempts,
		`INSERT INTO notice (account, at, content) VALUES (?, ?, ?)
			ON CONFLICT DO UPDATE SET content = excluded.content`: &s.keepNotice,
		`DELETE FROM notice WHERE account = ?`: &s.dropNotice,
		`INSERT INTO called (account, content) VALUES (?, ?)
			ON CONFLICT DO UPDATE SET content = excluded.content`: &s.keepNames,
		`DELETE FROM called WHERE account = ?`: &s.dropNames,
	} {
		if *statement, err = db.PrepareContext(ctx, text); err != nil {
			return s, err
		}
	}
	return s, nil
}
