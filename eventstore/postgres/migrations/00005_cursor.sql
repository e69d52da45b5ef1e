-- +goose Up
CREATE TABLE cluster.cursor (
	name  text PRIMARY KEY,
	value bytea NOT NULL
);
