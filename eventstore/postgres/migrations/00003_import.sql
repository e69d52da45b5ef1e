-- +goose Up
-- True while an import fills the log. A log that an import left behind is refused.
ALTER TABLE log.meta ADD importing boolean NOT NULL DEFAULT false;
