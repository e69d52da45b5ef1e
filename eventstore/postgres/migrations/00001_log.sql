-- +goose Up
CREATE TABLE log.meta (
	one        boolean PRIMARY KEY DEFAULT true CHECK (one),
	id         bytea   NOT NULL, -- distinguishes this log, and its copies, from every other
	claim_rule bigint  NOT NULL, -- eventstore.ClaimRule.Number
	shared     boolean NOT NULL  -- eventstore.ClaimRule.Shared
);

-- The one row is locked by whoever appends. It is small and changes with every append, so its
-- pages are kept mostly empty: an update then stays within its page and touches no index.
CREATE TABLE log.head (
	one      boolean PRIMARY KEY DEFAULT true CHECK (one),
	position bigint NOT NULL,
	hash     bytea  NOT NULL -- eventstore.ChainHash of the record at position
) WITH (fillfactor = 10);

CREATE TABLE log.events (
	position bigint PRIMARY KEY,
	stream   text COLLATE "C" NOT NULL,
	version  bigint NOT NULL,
	id       bytea  NOT NULL,
	type     text   NOT NULL,
	time     bigint NOT NULL, -- milliseconds since 1970, UTC
	metadata bytea  NOT NULL,
	data     bytea  NOT NULL,
	hash     bytea  NOT NULL, -- eventstore.ChainHash of this record and all before it
	UNIQUE (stream, version)
);

-- The payloads are encrypted: compressing them costs time and saves nothing.
ALTER TABLE log.events ALTER metadata SET STORAGE EXTERNAL, ALTER data SET STORAGE EXTERNAL;

CREATE TABLE log.claims (
	key    bytea NOT NULL,
	stream text COLLATE "C" NOT NULL,
	PRIMARY KEY (key, stream)
);

CREATE TABLE log.receipts (
	key     bytea PRIMARY KEY,
	stream  text COLLATE "C" NOT NULL,
	data    bytea  NOT NULL,
	expires bigint NOT NULL -- milliseconds since 1970, UTC
);
CREATE INDEX receipts_by_expiry ON log.receipts (expires);
CREATE INDEX receipts_by_stream ON log.receipts (stream);

-- +goose StatementBegin
CREATE FUNCTION log.refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'events are append-only'; END $$;
-- +goose StatementEnd

-- The trigger prevents accidents: statements typed by hand, bugs of a later konto. What gets
-- past it is found by the check of the chain.
CREATE TRIGGER events_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON log.events
	FOR EACH STATEMENT EXECUTE FUNCTION log.refuse();
