package projections

import (
	"context"
	"database/sql"

	"konto/eventstore"
)

// schemaNumber names the shape of the tables and of the rows in them, with all
// that the fold puts there. Raise it when any of these changes: files of other
// numbers are made anew from the log.
const schemaNumber = 5

// applicationID marks a SQLite file as a read model of konto ("kord").
const applicationID = 0x6b6f7264

const tables = `
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
CREATE TABLE third_party (
	id      BLOB PRIMARY KEY,
	content BLOB NOT NULL -- events.ThirdParty as JSON, sealed; secrets included
);
CREATE INDEX credential_account ON credential (account) WHERE account IS NOT NULL;
CREATE INDEX credential_parent ON credential (parent) WHERE parent IS NOT NULL;
CREATE INDEX credential_consumer ON credential (consumer) WHERE consumer IS NOT NULL;
`

// openWriter opens read.db for its writer.
func openWriter(ctx context.Context, path string, log eventstore.Feed, keyring []byte) (*sql.DB, error) {
	return LogFile{
		Path: path, Application: applicationID, Schema: schemaNumber, Tables: tables, Log: log, Keyring: keyring,
	}.Open(ctx)
}
