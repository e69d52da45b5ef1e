// Package deliveries sends events to third parties by webhook: at least once, in order per
// account and third party, with retries for about 75 hours.
//
// The way of an event:
//
//	log ──▶ follower "deliveries" ──▶ feed: the accounts' last events, in memory    feed.go
//	 │                                  │      for each third party:
//	 └─ a third party that is further ─▶ loop: opens a Delivery per account          run.go, reading.go
//	    behind reads the log            │
//	                                    ▼
//	    deliver: 1. find the event ─▶ 2. send it ─▶ 3. judge the answer ─▶ 4. save   delivery.go
//	                  send.go, package webhook ┘    schedule.go ┘    Store.Save ┘
//
// A Delivery is an account's next event for one third party, and a row of the Store
// (store.go). On a single machine the Store is deliveries.db (File: file.go, stored.go,
// schema.go). On many it is Postgres, where a lease for each third party says which node sends
// (postgres.go, postgresrows.go). An Attempt is a row of the delivery log (attempts.go). A
// third party has one goroutine that starts and stops its loop (thirdparty.go), and limits on
// its requests (limits.go). progress.go saves how far it has come. redeliver.go is for
// operators, and metrics.go has the metrics and the status. erasures.go moves what earlier
// builds kept in deliveries.db.
//
// # The states of a Delivery
//
//	     a wanted event           a request may go (limits)
//	(none) ──────────────▶ due ──────────────────────────▶ busy
//	                        ▲                                │ saved: done, and more follows
//	                        ├────────────────────────────────┤
//	                        │ its time has come, it was      │ saved: failed
//	                        │ hastened, or the third         ▼
//	                        └─ party was resumed ───────── waiting
//
// A Delivery ends when it is done and nothing follows. busy ends only when the result is
// saved. So when a process ends at any moment, only the last event of an account is sent
// again.
//
// # After a crash
//
// A third party's position in the store covers the events that are done and those of
// accounts whose row says that they wait. All others hold it back (run.covered). Reading
// goes on from there, and what a row has as done is not sent again (run.loadRow).
//
// Without deliveries.db, deliveries go on from the third party's checkpoint in the log, up to
// which every event is done. There is a checkpoint at most every ten minutes, and at the end
// of a run, if anything was sent since.
//
// # When a third party is disabled
//
// When the whole retry schedule failed for an event, the event is given up if the third party
// accepted another one since its first attempt. Otherwise the third party is disabled and
// keeps its place. It is also disabled by an answer of 410.
//
// A request that konto itself could not make (webhook.Unsent, a panic) says nothing about the
// third party. It is tried again every 5 s, does not count in the schedule, and is an error in
// the status.
package deliveries
