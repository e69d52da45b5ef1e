package eventstore

import (
	"bytes"
	"cmp"
	"context"
	"iter"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

// Log is an append-only log of records. All methods may be called by many
// goroutines at once. eventstoretest.Run defines what each must do.
type Log interface {
	Appender
	Reader
	Feed

	// Close waits for appends under way and frees the log's resources. Calls
	// made afterwards return ErrClosed.
	Close() error
}

// Appender writes.
type Appender interface {
	// Append stores all of b or nothing, durably: when it returns nil, b
	// survives the loss of power. It returns the position of b's last record;
	// the records of one append have consecutive positions.
	//
	// Errors: *Repeated when a receipt of b is there already, and only else
	// *VersionConflict when the stream is not at b.Expected, *ClaimTaken when
	// another stream holds a key (all: nothing was stored by this call),
	// ErrOutcomeUnknown when b may or may not have been stored, as when ctx ends
	// while b is under way; read the stream, or a receipt, to find out.
	Append(ctx context.Context, b Batch) (last uint64, err error)

	// ReplaceClaims makes held the only claims, and rule the number of the rule that
	// they were made by, all or nothing, durably. An error of held is returned, and
	// changes nothing. The caller sees to it that nobody appends meanwhile. held may
	// read the log.
	//
	// After this, and only after this, several streams may hold one key. Each of them
	// releases it on its own, and no other stream can take it until all have.
	ReplaceClaims(ctx context.Context, rule int, held iter.Seq2[HeldClaim, error]) error
}

// Reader reads streams, claims and receipts. What an Append stored before the
// call began is seen, whichever node stored it.
type Reader interface {
	// ReadStream returns up to limit records of the stream that follow the
	// version after, in order. An unknown stream is an empty one.
	ReadStream(ctx context.Context, stream events.Stream, after uint64, limit int) ([]Record, error)

	// StreamHead returns the version and position of the stream's last record,
	// zeros when it has none.
	StreamHead(ctx context.Context, stream events.Stream) (StreamHead, error)

	// Holder returns the stream that holds a key, "" when none does; of several
	// streams the first in the order of their names.
	Holder(ctx context.Context, key ClaimKey) (events.Stream, error)

	// Claims returns up to limit claims, those above after in the order of their keys'
	// bytes and then of their streams' names.
	Claims(ctx context.Context, after HeldClaim, limit int) ([]HeldClaim, error)

	// ClaimRule tells by which rule the claims were made. A new log's rule is
	// events.ClaimRule.
	ClaimRule(ctx context.Context) (ClaimRule, error)

	// Receipt returns the stream that a receipt was left with, and the receipt's
	// data; "" when there is none, or none that has not expired.
	Receipt(ctx context.Context, key ReceiptKey) (events.Stream, []byte, error)
}

// Feed is what followers read. It may lag behind Append on other nodes, but
// never shows a record before all those with lower positions.
type Feed interface {
	// ReadAll returns up to limit records with positions above after, in order.
	ReadAll(ctx context.Context, after uint64, limit int) ([]Record, error)

	// Head returns the position of the last record in the log, 0 when empty.
	Head(ctx context.Context) (uint64, error)

	// Wait returns nil once a record with a position above after can be read,
	// or ctx's error, or ErrClosed.
	Wait(ctx context.Context, after uint64) error
}

// Batch is one append to one stream.
type Batch struct {
	Stream   events.Stream
	Expected uint64 // the stream's version as the caller knows it; 0: it has no record
	// Claims are taken and released in this order, by Stream. Taking a key that
	// the stream already holds and releasing one that it does not hold do nothing.
	Claims []ClaimOp
	// Receipts are left together with the rest. While one of them is there, no
	// other batch that holds its key is stored.
	Receipts []Receipt
	// DropReceipts removes all receipts that were left with the stream before.
	// Such a batch leaves none.
	DropReceipts bool
	// Records have versions Expected+1, Expected+2 and so on; the log sets
	// their positions. There may be none: then only claims and receipts change.
	Records []Record
	// Stored, if not nil, is called once b's records are durable, with what Append is
	// about to return, before Wait and Head tell of the first of them; never when Append returns
	// an error, nor without records. The log waits for it, so it is quick and asks
	// nothing of the log.
	Stored func(last uint64)
}

// Receipt tells, to whoever appends the same once more, what the append came to
// the first time.
type Receipt struct {
	Key  ReceiptKey
	Data []byte // encrypted
	// Expires is when the log forgets it, by the log's own clock; UTC,
	// milliseconds. From then on it counts for nothing, whether or not it takes
	// up room for some time yet.
	Expires time.Time
}

// ReceiptKey is a keyed hash that stands for what must not happen twice.
type ReceiptKey [32]byte

// ClaimOp takes or releases one key.
type ClaimOp struct {
	Key     ClaimKey
	Release bool
}

// ClaimKey is a keyed hash that stands for a unique key.
type ClaimKey [32]byte

// ClaimRule is what is known of all claims together.
type ClaimRule struct {
	Number int // as events.ClaimRule
	// Shared tells that the last ReplaceClaims gave one key to several streams. They
	// may have released it since.
	Shared bool
}

// HeldClaim is a key and a stream that holds it.
type HeldClaim struct {
	Key    ClaimKey
	Stream events.Stream
}

// Compare orders claims by the bytes of their keys and then by their streams' names.
func (c HeldClaim) Compare(other HeldClaim) int {
	return cmp.Or(bytes.Compare(c.Key[:], other.Key[:]), cmp.Compare(c.Stream, other.Stream))
}

// Record is an event as a backend keeps it.
type Record struct {
	Position uint64
	Stream   events.Stream
	Version  uint64
	ID       ulid.ULID
	Type     string
	Time     time.Time // UTC, milliseconds
	// Metadata and the payload are JSON, encrypted where events.Sealed says so.
	Metadata []byte
	Data     []byte
}

// StreamHead is where a stream ends.
type StreamHead struct {
	Version  uint64
	Position uint64
}
