// Package sqlitefile opens konto's SQLite files (log.db, keys.db, ...) in the one
// way that their guarantees need: a single writer that syncs at each commit,
// readers that cannot write, both in WAL mode; Group lets many callers share a
// commit. It is the only package that knows the SQLite driver and its errors.
package sqlitefile
