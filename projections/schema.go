package projections

// schemaNumber is the number of the shape of the tables, of the rows in them, and of
// what the fold writes. Raise it when any of these changes: files with other numbers
// are recreated from the log.
const schemaNumber = 9

// applicationID marks a SQLite file as a read model of konto ("kord").
const applicationID = 0x6b6f7264

// The log also holds in clear what the columns hold in clear. It is what is left of
// a row whose key is destroyed, and enough for the fold to go on; see scan.go. Times
// are milliseconds since 1970, 0 for none.
const tables = `
CREATE TABLE cursor (
	name  TEXT PRIMARY KEY,
	value BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE account (
	id       BLOB    PRIMARY KEY,
	erased   INTEGER NOT NULL, -- its AccountErased was folded
	version  INTEGER NOT NULL,
	position INTEGER NOT NULL, -- of its last event
	opened   INTEGER NOT NULL,
	updated  INTEGER NOT NULL,
	content  BLOB    NOT NULL  -- events.Account as JSON, sealed; empty when erased or its key is destroyed
);
CREATE TABLE credential (
	id       BLOB    PRIMARY KEY,
	version  INTEGER NOT NULL,
	issued   INTEGER NOT NULL,
	revoked  INTEGER NOT NULL,
	consumer TEXT,            -- name of a usable consumer key, else null
	account  BLOB,            -- that it acts for, null when its key is destroyed
	parent   BLOB,            -- that delegated it, null when its key is destroyed
	content  BLOB    NOT NULL -- events.Credential as JSON, sealed; empty when its key is destroyed
);
CREATE TABLE third_party (
	id      BLOB    PRIMARY KEY,
	version INTEGER NOT NULL,
	content BLOB    NOT NULL -- events.ThirdParty as JSON, sealed, secrets included; empty when it is gone
);
CREATE INDEX account_erased ON account (id) WHERE content = x'';
CREATE INDEX credential_account ON credential (account) WHERE account IS NOT NULL;
CREATE INDEX credential_parent ON credential (parent) WHERE parent IS NOT NULL;
CREATE INDEX credential_erased ON credential (id) WHERE content = x'';
CREATE INDEX credential_consumer ON credential (consumer) WHERE consumer IS NOT NULL;
`

// logFile is read.db as a file that follows the log.
func (m *ReadModel) logFile() LogFile {
	return LogFile{
		Path: m.path, Application: applicationID, Schema: schemaNumber, Tables: tables,
		Log: m.log, Keyring: m.keys.Derive("read model"), Copy: true,
	}
}
