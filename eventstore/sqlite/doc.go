// Package sqlite is an eventstore.Log in one SQLite file, for one process at a time.
//
// Append puts a batch into a queue. One goroutine, the writer, takes all that
// waits there, decides and inserts batch after batch in one transaction, and
// commits once: many appends share one sync of the disk, each gets its own
// verdict. A batch is validated (receipts, version, claims) before its first change, so
// a refused one leaves nothing to undo and its neighbours are not concerned.
//
//	Append ──> queue ──> writer: BEGIN IMMEDIATE
//	                       each batch: receipts? version? claims? then insert, chain hash
//	                       sweep: some receipts, if any has expired
//	                     COMMIT, synced; pages go to the file later, see checkpointer
//	                     new head ──> Wait wakes
//	Append <── verdict ──┘
//
// When the group cannot be inserted, it is rolled back and each of its appends
// fails. When the commit itself fails, nobody knows whether it will be found
// after a restart: a commit record may be in the WAL although its sync failed.
// Those appends get eventstore.ErrOutcomeUnknown. In both cases the writer
// reads its position and chain hash from the file again before it goes on, and
// forgets where streams end.
//
// Positions are 1, 2, 3 and so on without gaps: only the writer gives them out,
// one transaction at a time.
package sqlite
