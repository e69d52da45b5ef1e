// Package projections is the read side: what konto builds from its log. A Follower
// gives a Projection the events of the log, batch by batch. ReadModel is the
// projection that answers requests. Reader answers with accounts that are never
// older than an acknowledged write, although the read model is behind the log.
//
// Where to find what:
//
//   - the loop and its errors: follower.go, waiting.go, failure.go
//   - read.db with its accounts, credentials and third parties: readmodel.go,
//     schema.go, fold.go, rows.go, thirdparties.go, sessions.go
//   - how a row is stored, and how one is read whose key is destroyed: scan.go
//   - rows in a form that verify and a rebuild compare: stored.go
//   - files that belong to one history of the log: logfile.go, logfilecheck.go
//   - the rebuild of read.db: rebuild.go, rebuildfold.go, rebuildcompare.go, modelfile.go
//   - the cache of rows: cache.go
//   - access by token: authenticate.go
//   - reads: reader.go; accounts as they were: past.go
//   - the state of what follows NATS and not the log: health.go
//   - fewer log lines: loglimiter.go
//   - everything that follows from the log, compared with it: verify/
//   - the publisher to NATS JetStream, and a subscriber for reactors: nats/
//   - the reactor that mails codes: mail/
//   - deliveries to third parties: deliveries/; one request: webhook/
//   - facts that other systems send: inbound/
//   - metrics for Prometheus: metrics/
//
// The states of a follower, as Status returns them:
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
//	               │ ctx ends       ctx ends│       fails for the ninth time with an
//	               ▼                        ▼             │ error that no retry repairs
//	            stopped, Run returns nil ◀──┘             ▼
//	                                       stopped, Run and WaitFor return the error
//
// A follower with a Hold stands by until Hold calls it, and again whenever the context that Hold
// gave it ends. Meanwhile another node does its work, and nobody waits for it. Then Run goes on.
//
// No retry repairs an event that does not decode, a key or a seal that does not
// fit, a projection that is out of step, or a damaged or closed file (failure.go).
// A full disk, a file that cannot be read or written, and unknown errors are
// retried for ever. If a batch cannot be applied, its events are applied one by
// one: only the faulty event is retried, and no event is skipped.
package projections
