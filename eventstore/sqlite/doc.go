// Package sqlite implements eventstore.AdminLog in a SQLite file, for one process at a time.
//
// Append puts a batch into a queue. One goroutine, the writer, takes all batches that wait,
// checks and inserts them one by one in a single transaction, and commits once. So many
// appends share one sync of the disk, and each has its own result. A batch is checked
// completely (receipts, version, claims) before its first change, so a refused batch leaves
// nothing behind and does not affect the others.
//
//	Append ──> queue ──> writer: BEGIN IMMEDIATE
//	                       each batch: receipts? version? claims? then insert, chain hash
//	                       delete some receipts, if any has expired
//	                     COMMIT, synced; the checkpointer moves pages to the file later
//	                     cache the records, advance the head, wake Wait
//	Append <── result ───┘
//
// If an insert fails, the transaction is rolled back and all its appends fail. If the commit
// fails, the outcome is unknown: the commit record may be in the write-ahead log although its
// sync failed. Those appends return eventstore.ErrOutcomeUnknown. In both cases the writer
// reads its position and chain hash from the file again, and evicts all stream heads.
//
// Positions have no gaps because only the writer assigns them, in one transaction at a time.
package sqlite
