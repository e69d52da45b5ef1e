// Package eventstore is konto's log of events: append-only, the source of
// every other thing that konto keeps or sends.
//
// It has two layers. Log is what a backend implements: durable records in
// streams, positions over all of them, claims on unique keys, and receipts
// that keep an append from happening twice. It knows
// nothing of payloads, keys or accounts, and nothing of SQL, files or a single
// process leaks through it, so that a replicated engine can stand behind it.
// Store is what the other rooms use: it turns events into records and back,
// encrypts payloads and receipts with a key per stream, and hashes claims and
// the names of receipts, so that no backend ever sees personal data. What it just
// appended it keeps in memory for those who follow the log.
//
//	eventstore/memory          a Log in memory, for tests
//	eventstore/sqlite          a Log in one SQLite file
//	eventstore/keyring         the keys, in a file of their own
//	eventstore/sqlitefile      how konto opens SQLite files
//	eventstore/transfer        the log as text, and back: export and import
//	eventstore/eventstoretest  the suite that defines Log
package eventstore
