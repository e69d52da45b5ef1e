-- +goose Up
-- Times are milliseconds since 1970, UTC; 0 stands for none. Ids are the 16 bytes of ULIDs.

-- A row for each third party that any other table has a row of.
CREATE TABLE cluster.party (
	id       bytea PRIMARY KEY,
	position bigint -- of its reading of the log, null until it was set
);

-- The deliveries of a third party: an account's next event.
CREATE TABLE cluster.lane (
	party        bytea   NOT NULL,
	account      bytea   NOT NULL,
	version      bigint  NOT NULL,
	position     bigint  NOT NULL,
	attempts     integer NOT NULL,
	since        bigint  NOT NULL,
	next         bigint  NOT NULL,
	behind       boolean NOT NULL,
	delivered    bigint  NOT NULL,
	delivered_at bigint  NOT NULL,
	PRIMARY KEY (party, account)
);

-- Few of many accounts wait: the others cost this index nothing.
CREATE INDEX lane_waiting ON cluster.lane (party, next) WHERE attempts > 0 OR behind;

-- The delivery log. Ids count up with time.
CREATE TABLE cluster.attempt (
	id       bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	party    bytea   NOT NULL,
	account  bytea   NOT NULL,
	event    bytea   NOT NULL,
	type     text    NOT NULL,
	position bigint  NOT NULL,
	number   integer NOT NULL,
	at       bigint  NOT NULL,
	outcome  text    NOT NULL,
	status   integer NOT NULL,
	latency  bigint  NOT NULL, -- microseconds
	excerpt  bytea   NOT NULL  -- sealed with the account's key, empty when there is none
);
CREATE INDEX attempt_party ON cluster.attempt (party, id);
CREATE INDEX attempt_account ON cluster.attempt (account);
