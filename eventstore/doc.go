// Package eventstore is konto's append-only log of events. Everything else that konto stores
// or sends follows from it.
//
// It has two layers. Log is what a backend implements: durable records in streams, positions
// over all records, claims on unique keys, and receipts that prevent a repeated append. It
// knows no payloads, keys or accounts. Nothing in it assumes SQL, a file or a single
// process. AdminLog adds what backups, exports and verification need.
//
// Store is what other packages use. It turns events into records and back, encrypts payloads
// and receipts with a key per stream, and hashes claims and names of receipts, so no
// backend sees personal data. It caches the events that it appended for followers of the log.
//
//	eventstore/memory          a Log in memory, for tests
//	eventstore/sqlite          an AdminLog in a SQLite file
//	eventstore/keyring         a KeyStore in a file of its own, and the cryptography of all
//	eventstore/postgres        an AdminLog and a KeyStore in Postgres, for several nodes
//	eventstore/sqlitefile      how konto opens SQLite files
//	eventstore/transfer        export of a log as text, and import
//	eventstore/eventstoretest  the conformance suite for Log and AdminLog
package eventstore
