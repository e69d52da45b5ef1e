// Package projections is the read side: what konto makes of its log. A Follower
// feeds a Projection from the log, batch by batch; ReadModel is the projection
// that answers requests; Reader hides that it lags.
//
//   - the loop and its errors: follower.go, waiting.go, failure.go
//   - read.db, accounts, credentials and third parties: readmodel.go, schema.go, rows.go, fold.go, thirdparties.go
//   - the rows: scan.go; as verify compares them: stored.go
//   - files that belong to one history of the log: logfile.go, logfilecheck.go
//   - read.db made again beside the one in use: rebuild.go, rebuildcompare.go; modelfile.go is what is exchanged
//   - what of it is kept in memory: recent.go
//   - access by token: authenticate.go
//   - reads that are never older than an acknowledged write: reader.go
//   - accounts as they were: past.go
//   - what a changed password does to sessions: sessions.go
//   - everything that follows from the log, compared with it: verify/
//   - the publisher to NATS JetStream, and a subscriber for reactors: nats/
//   - the reactor that mails codes: mail/
//   - telling third parties, in order and until they have it: deliveries/; one attempt: webhook/
//   - facts that other systems send: inbound/
//   - how all of them are doing, for Prometheus: metrics/
//
// A follower's states, as Status tells them:
//
//	        Run                  batch applied
//	(idle) ─────▶ following ◀──────────────────┐
//	               │  │  ▲ └───────────────────┘
//	               │  │  │ the step succeeds
//	               │  │  │
//	               │  │  └──────────────── retrying   Error set
//	               │  └───────────────────▶ │  │ ▲
//	               │     one step fails     │  └─┘ fails again: a longer delay, up to 16 s
//	               │                        │
//	               │ ctx ends       ctx ends│       fails for the ninth time in a way
//	               ▼                        ▼             │ that no retry mends
//	            stopped, Run returns nil ◀──┘             ▼
//	                                       stopped, Run and WaitFor return the error
//
// What no retry mends is an event that does not decode, a key or a seal that
// does not fit, a projection out of step, a damaged or closed file (failure.go).
// A full disk, a file that cannot be read or written, or anything unknown is
// retried for ever. A batch that cannot be applied is taken apart first: its
// events are applied one by one, so that only the faulty one is retried and none
// is skipped.
package projections
