// Package erasure erases accounts: it appends AccountErased, waits until every follower has deleted
// its data, destroys the keys and signs a proof.
//
//	Erase ──▶ row in erasures.db ──▶ AccountErased ──▶ every follower deletes its own data
//	  ▲        (what must be done)    (in the log)                    │ all have passed
//	  │                                                               ▼
//	  └── waits ── proof in erasures.ndjson ◀── messages ◀── keys destroyed, by the follower
//	                  (the ledger)               deleted      "erasure": a tombstone each
//
// Where to find what:
//
//   - the steps in order, and what a crash does at each: erasure.go
//   - the follower, the retries, and what each start reconciles: process.go
//   - erasures.db: rows.go; erasures.ndjson: ledger.go
//   - what other systems sent about an account: messages.go
//   - several nodes: cluster.go; their rows and their ledger in Postgres: shared.go
package erasure
