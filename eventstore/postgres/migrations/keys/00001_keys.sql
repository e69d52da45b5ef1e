-- +goose Up
-- The rows of streams have one length, and more than half of each page is kept empty; see vacuumkeys.go.
CREATE TABLE keys.keys (
	name    text COLLATE "C" PRIMARY KEY, -- of a stream, "root", or "log"
	wrapped bytea  NOT NULL,              -- as keyring.Wrapper wraps it
	master  bytea  NOT NULL,              -- keyring.MasterID of the key that wraps it
	created bigint NOT NULL               -- milliseconds since 1970, UTC
) WITH (fillfactor = 45);

CREATE TABLE keys.state (
	one     boolean PRIMARY KEY DEFAULT true CHECK (one),
	rewrite bigint NOT NULL -- if it is not 0, VACUUM may not have overwritten all old keys
);
INSERT INTO keys.state (rewrite) VALUES (0);
