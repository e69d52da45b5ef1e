-- +goose Up
CREATE TABLE cluster.lease (
	name   text PRIMARY KEY,
	epoch  bigint      NOT NULL, -- rises with each holder
	holder text        NOT NULL, -- the node's name
	until  timestamptz NOT NULL  -- by the server's clock
);
