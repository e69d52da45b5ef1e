-- +goose Up
-- Both tables are unlogged: a change waits for no disk and no standby. They are empty after a crash
-- of the server and on a promoted standby. Most updates are of one row again and again, so pages
-- are kept half empty, and no column that changes is indexed: an update then touches no index.

-- How often something was done. A key is a hash, so the table holds no personal data.
CREATE UNLOGGED TABLE cluster.guess (
	key   bytea PRIMARY KEY,
	times integer     NOT NULL,
	added boolean     NOT NULL, -- whether the last attempt to add one did
	until timestamptz NOT NULL  -- by the server's clock: the count is zero from then on
) WITH (fillfactor = 50);

-- Token buckets. What nodes have taken and not spent yet is not in here.
CREATE UNLOGGED TABLE cluster.bucket (
	key    bytea PRIMARY KEY,
	tokens double precision NOT NULL, -- at that time
	taken  integer          NOT NULL, -- by the last who took
	at     timestamptz      NOT NULL, -- by the server's clock
	until  timestamptz      NOT NULL  -- the bucket is full again by then
) WITH (fillfactor = 50);
