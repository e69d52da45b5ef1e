// Package deliveries tells third parties of events by webhook: at least once, in
// order per account and third party, and however long an endpoint is away.
//
// The way of an event:
//
//	log ──▶ follower "deliveries" ──▶ feed: accounts' last events, in memory       feed.go
//	 │                                  │ for each third party its own:
//	 └─ who is further behind ────────▶ lanes: the loop, opens a lane per account  reading.go, lanes.go
//	    reads pages of it               │ a turn: find, hand out, settle           turn.go, lane.go
//	                                    ▼
//	        Watermill middleware: metrics ▶ log ▶ recoverer ▶ Sender              send.go, metrics.go
//	                                    │ webhook.Answer
//	                                    ▼
//	        judge: the retry schedule ──▶ Ledger: lane and attempt, durably        schedule.go, settle.go
//
// conclusions.go is what follows from an answer for the whole third party.
// keeper.go runs that for one third party while it is active; deliveries.go has a
// keeper for each; byhand.go is what operators ask for. pace.go is how many
// requests a third party bears, requests.go how many all do together, progress.go
// what is kept of how far it has come, status.go what is told of it.
// The ledger's files are listed at Ledger.
//
// # Lanes
//
// A lane is an account with something to be told. Reading of the log waits while
// 1,000 lanes of a third party are due or busy that the ledger knows nothing of
// yet, or 100,000 wait: they are a few numbers each, their rows are in the ledger.
// New lanes and those that waited take turns. The states of a lane:
//
//	     an event that is wanted
//	(none) ───────────────────▶ due ◀──────────────────────────────────────┐
//	   ▲                        │  ▲                                       │
//	   │                        │  │ its time has come, or hastened:       │
//	   │     a request may go   │  │ something else was taken, or the      │
//	   │     (pace)             │  │ third party was resumed               │
//	   │                        ▼  │                                       │
//	   │                      busy │                                       │
//	   │                        │  └──────────── waiting ◀── failed        │
//	   │                        │                  ▲                       │
//	   │                        ├── not taken ─────┘ ledger: Attempts, Next│
//	   │                        │                                          │
//	   │                        ├── taken, aborted, skipped or given up,   │
//	   │                        │   and more of the account follows ───────┘ ledger: Version, Behind
//	   │                        │
//	   └── nothing follows ─────┘ ledger: Version
//
// busy ends only when the ledger has what came of the turn. So when a process
// ends at any moment, no more than the last event of an account is sent again.
//
// # What is known after a crash
//
// A third party's position in the ledger covers events that are settled, and
// those whose lane the ledger knows to wait. A lane that was not tried yet, and
// what came while a turn was under way, hold it back (lanes.held). Reading goes on from there,
// and what a lane's row has as settled is not sent again (lanes.compare).
//
// Without a ledger it goes on from the third party's checkpoint in the log: all
// up to there is settled. Checkpoints come at most every ten minutes, and at an
// orderly end, if anything was settled since.
//
// # When a third party is well and when it is not
//
// An event that was tried by the whole schedule is given up if anything else was
// delivered since its first try; it is in the delivery log as failed. Otherwise
// the third party is disabled, and keeps its place. So it does after a 410.
//
// A request that konto itself could not make (webhook.Unsent, a panic) says
// nothing of the third party: it is tried again every 5 s, uses up nothing of the
// schedule, and is in the status as an error.
package deliveries
