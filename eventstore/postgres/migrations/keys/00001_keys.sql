-- +goose Up
-- The rows of streams have one length, and more than half of each page is kept empty. So the new
-- version of a row is put on the page of the old one, below it, and when VACUUM removes the old one,
-- it moves the rows of the page over its bytes. Postgres does not clear the bytes of removed rows.
CREATE TABLE keys.keys (
	name    text COLLATE "C" PRIMARY KEY, -- of a stream, "root", or "log"
	wrapped bytea  NOT NULL,              -- as keyring.Wrapper wraps it
	master  bytea  NOT NULL,              -- keyring.MasterID of the key that wraps it
	created bigint NOT NULL               -- milliseconds since 1970, UTC
) WITH (fillfactor = 45);
