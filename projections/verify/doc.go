// Package verify compares everything that follows from the log with the log, and
// the log with itself, while all of it is in use. It changes nothing.
//
//	files      SQLite checks them, and they must consist of what konto creates
//	records    hash chain, positions and versions, in the order of the log
//	streams    one after the other: each event is decrypted, decoded and folded;
//	           the state gives the claims that the stream must hold and the row
//	           that the read model must have
//	claims     a fold must have given each one that is held
//	receipts   each one must be readable
//
// Streams are read in the order of their names, which is the order of the read
// model's rows. Both are read page by page, side by side (streams.go). So memory does not grow
// with the number of accounts, except for 8 bytes for each claim.
//
// The run is not one transaction, because a long transaction keeps the write-ahead
// log from being emptied. So what is appended meanwhile looks wrong at first. What
// looks wrong is checked again, alone and as of one moment (again.go), and is
// reported only if it still looks wrong.
//
// Verify cannot find that the end of the log was cut off together with everything
// that knew of it, nor a change by somebody who has the keys and computes the chain
// again.
package verify
