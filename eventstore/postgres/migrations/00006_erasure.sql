-- +goose Up

-- The nodes that run, and how far each has followed the log.
CREATE TABLE cluster.node (
	name        text PRIMARY KEY,
	address     text        NOT NULL,
	version     text        NOT NULL,
	position    bigint      NOT NULL, -- all followers of the node have passed it
	incarnation bytea       NOT NULL, -- distinguishes a process from others with the same name
	seen        timestamptz NOT NULL  -- when it last said so, by the server's clock
);

-- Accounts with anything left to do about their erasure. Only the holder of the lease "erasure"
-- changes it, and writes it into a new file each time: old bytes would stay in this one.
CREATE TABLE cluster.erasure (
	account bytea PRIMARY KEY,
	content bytea NOT NULL -- sealed
);

-- The ledger of erasures. The last line of an account counts.
CREATE TABLE cluster.erased (
	number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	line   text NOT NULL
);

-- +goose StatementBegin
CREATE FUNCTION cluster.refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'lines of the ledger of erasures are only added'; END $$;
-- +goose StatementEnd

CREATE TRIGGER lines_are_only_added BEFORE UPDATE OR DELETE OR TRUNCATE ON cluster.erased
	FOR EACH STATEMENT EXECUTE FUNCTION cluster.refuse();
