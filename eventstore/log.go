package eventstore

import (
	"context"
	"crypto/sha256"
	"fmt"
	"iter"

	"konto/events"
)

// Log is an append-only log of records. Several nodes may have a Log open on one store, and
// each of them may append. All methods may be called concurrently. eventstoretest.Run
// defines what each method must do.
type Log interface {
	Appender
	Reader
	Feed
	ClaimRules

	// Close waits for appends under way and frees the log's resources. Calls
	// made afterwards return ErrClosed.
	Close() error
}

// Appender appends.
type Appender interface {
	// Append stores all of b or nothing, durably: if it returns nil, b survives a power
	// failure. It returns the position of b's last record, or 0 if b has no records. The
	// records of one append have consecutive positions.
	//
	// If nothing was stored, the error is *Repeated if a receipt of b exists already, else
	// *VersionConflict if the stream is not at b.Expected, else *ClaimTaken if another
	// stream holds a key. If b may or may not have been stored, the error matches
	// ErrOutcomeUnknown. Then read the stream, or a receipt, to find out.
	Append(ctx context.Context, b Batch) (last uint64, err error)
}

// Reader reads streams, claims and receipts. It sees everything that was stored before the
// call, whichever node stored it.
type Reader interface {
	// ReadStream returns up to limit records of the stream after a version, in order. An
	// unknown stream is empty.
	ReadStream(ctx context.Context, stream events.Stream, after uint64, limit int) ([]Record, error)

	// ByStream returns up to limit records after a version of a stream, in the order of
	// streams' names and, within each stream, of versions.
	ByStream(ctx context.Context, stream events.Stream, after uint64, limit int) ([]Record, error)

	// StreamHead returns the version and position of the stream's last record, or zeros
	// if it has none.
	StreamHead(ctx context.Context, stream events.Stream) (StreamHead, error)

	// Holder returns the stream that holds a key, or "". If several streams hold it,
	// Holder returns the one whose name sorts first.
	Holder(ctx context.Context, key ClaimKey) (events.Stream, error)

	// Claims returns up to limit claims that sort after a claim, in order; see
	// HeldClaim.Compare.
	Claims(ctx context.Context, after HeldClaim, limit int) ([]HeldClaim, error)

	// Receipt returns the stream and the data of a receipt, or "" if there is no receipt
	// that has not expired.
	Receipt(ctx context.Context, key ReceiptKey) (events.Stream, []byte, error)
}

// Feed is the log as followers read it. Positions count from 1 without gaps, and every node
// sees the same records in the same order.
type Feed interface {
	// ReadAll returns up to limit records after a position, in order. It may lag behind
	// appends on other nodes.
	ReadAll(ctx context.Context, after uint64, limit int) ([]Record, error)

	// Head returns the position of the last record, or 0. It counts every record that was
	// stored before the call, whichever node stored it.
	Head(ctx context.Context) (uint64, error)

	// Wait returns nil once ReadAll returns a record after the position. Its errors are
	// ctx's error and ErrClosed.
	Wait(ctx context.Context, after uint64) error
}

// ClaimRules replaces all claims when the rule for claims changes.
type ClaimRules interface {
	// ClaimRule returns the rule that the claims were made by. It is events.ClaimRule for a
	// new log.
	ClaimRule(ctx context.Context) (ClaimRule, error)

	// ReplaceClaims replaces all claims by held, and stores the number of their rule. It
	// stores all or nothing, durably. If held yields an error, nothing changes and the
	// error is returned. Nobody may append meanwhile. held may read the log.
	//
	// This is the only way for several streams to hold one key. Each of them releases the
	// key on its own. No other stream can take it until all have released it.
	ReplaceClaims(ctx context.Context, rule int, held iter.Seq2[HeldClaim, error]) error
}

// AdminLog is a Log with what backups, exports, imports and verification need.
type AdminLog interface {
	Log
	Loader
	Checker

	// ID returns 16 random bytes that identify the log. A copy has the same.
	ID(ctx context.Context) ([]byte, error)

	// Adopt gives a log without records the id of another log, whose records are about to
	// be imported, so that the keys of that log fit.
	Adopt(ctx context.Context, id []byte) error

	// Extent describes the log up to a position, which must exist.
	Extent(ctx context.Context, position uint64) (Extent, error)

	// Copy writes the log as it is now into a new file, while the log is in use. The
	// content is durable when Copy returns, the file's name is not. Check the copy before
	// you rely on it. Errors: fs.ErrExist, and those of the file system. After an error
	// the file does not exist, unless it existed before.
	Copy(ctx context.Context, to string) error

	// NewestStreams returns up to n streams of a category, those with the highest ids
	// first. Ids begin with a time, so these streams were begun last, if clocks are right.
	// The cost does not depend on the length of the log.
	NewestStreams(ctx context.Context, category string, n int) ([]events.Stream, error)
}

// Loader appends many batches at once.
type Loader interface {
	// AppendAll appends batches in order, without other records in between. It returns
	// the position of the last record. It returns the error of the first batch that was
	// refused, although batches after that one may be stored. Use it to fill a log that is
	// deleted if it fails.
	AppendAll(ctx context.Context, batches []Batch) (last uint64, err error)
}

// Checker finds damage. Its methods change nothing and run while the log is in use.
type Checker interface {
	// CheckStorage checks what the log is stored in, such as a file and its schema.
	CheckStorage(ctx context.Context) error

	// CheckChain checks all records that exist when it is called: that positions have no
	// gap, that each hash fits its record and all records before it, and that each
	// stream's versions have no gap and rise with their positions. It returns a
	// *ChainError for the first record that is wrong. progress may be nil.
	//
	// CheckChain finds accidental damage. Somebody who can write to the store can also
	// compute new hashes, or delete the last records.
	CheckChain(ctx context.Context, progress func(done, total uint64)) error

	// CheckEnd is CheckChain for the last n records, without versions. It trusts the
	// record before them.
	CheckEnd(ctx context.Context, n uint64) error

	// Receipts returns up to limit receipts, expired ones too, with keys after a key, in
	// the order of their bytes.
	Receipts(ctx context.Context, after ReceiptKey, limit int) ([]StoredReceipt, error)
}

// Extent describes a log up to a position.
type Extent struct {
	ID       []byte // of the log
	Position uint64 // of the last record, or 0
	// Chain is the hash of the last record. It covers all records; see ChainHash.
	Chain [sha256.Size]byte
}

// ChainError names the first record that is damaged.
type ChainError struct {
	Position uint64
	Reason   string
	Err      error // the cause, or nil
}

// Error names the position and the reason.
func (e *ChainError) Error() string {
	return fmt.Sprintf("the log is damaged at position %d: %s", e.Position, e.Reason)
}

// Unwrap returns the cause.
func (e *ChainError) Unwrap() error { return e.Err }
