// Package projections is the read side: what konto makes of its log. A Follower
// feeds a Projection from the log, batch by batch; ReadModel is the projection
// that answers requests; Reader hides that it lags.
//
//   - the loop and its errors: follower.go, failure.go
//   - read.db, accounts and credentials: readmodel.go, schema.go, rows.go, fold.go
//   - what of it is kept in memory: recent.go
//   - access by token: authenticate.go
//   - reads that are never older than an acknowledged write: reader.go
//   - the publisher to NATS JetStream: nats/
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
//	               │     one step fails     │  └─┘ fails again: a longer delay
//	               │                        │
//	               │ ctx ends       ctx ends│       fails too often
//	               ▼                        ▼             │
//	            stopped, Run returns nil ◀──┘             ▼
//	                                       stopped, Run and WaitFor return the error
//
// A batch that cannot be applied is taken apart first: its events are applied
// one by one, so that only the faulty one is retried and none is skipped.
package projections
