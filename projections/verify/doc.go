// Package verify compares everything that follows from the log with the log, and
// the log with itself, while all of it is in use. It changes nothing.
//
//	files      SQLite's own check, and that they consist of what konto makes
//	records    hash chain, positions, versions, in the order of the log
//	streams    one after the other: each event decrypted, decoded and folded;
//	           the state gives the claims that the stream must hold and the row
//	           that the read model must have
//	claims     each that is held must be one that a fold gave
//	receipts   each must be readable
//
// Streams are walked in the order of their names, which is the order of the read
// model's rows: both are read page by page side by side, so memory does not grow
// with the number of accounts, but for 8 bytes a claim.
//
// No transaction spans the walk, since a long one keeps the write-ahead log from
// being emptied. What is appended meanwhile therefore looks wrong at first. So
// whatever looks wrong is looked at again, alone and of one moment
// (again.go), and counts only if it still is.
//
// What cannot be found: an end of the log that was cut off together with
// everything that knew of it, and a change by somebody who has the keys and
// computes the chain anew.
package verify
