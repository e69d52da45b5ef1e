// Package erasure erases accounts: every consequence of the event AccountErased that outlives the
// account.
//
//		Erase ──▶ row in erasures.db ──▶ AccountErased ──▶ every follower deletes its own data
//		  ▲        (what must be done)    (in the log)                    │ all have passed
//		  │                                                               ▼
//		  └── waits ── proof in erasures.ndjson ◀── messages ◀── keys destroyed, by the follower
//		                  (the ledger)                           "erasure": a tombstone each
//
//	  - erasure.go has the steps in order, and what a crash does at each
//	  - process.go runs them: the follower, the retries, and what a start makes agree
//	  - rows.go is erasures.db, ledger.go is erasures.ndjson
//	  - messages.go finds what other systems sent about an account
package erasure
