package eventstore

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

// Batch is one append to one stream.
type Batch struct {
	Stream   events.Stream
	Expected uint64 // the version that the stream must have; 0 if it must have no records
	// Claims are applied in this order. Taking a key that the stream already holds and
	// releasing a key that it does not hold have no effect.
	Claims []ClaimOp
	// Receipts are stored with the records. While one of them exists, no other batch with
	// the same key is stored.
	Receipts []Receipt
	// DropReceipts deletes all receipts of the stream. Such a batch has no Receipts.
	DropReceipts bool
	// Records have the versions Expected+1, Expected+2 and so on. The log sets their
	// positions. A batch without records changes claims and receipts only.
	Records []Record
}

// Receipt stores the result of an append, so that the append is not repeated.
type Receipt struct {
	Key  ReceiptKey
	Data []byte // encrypted
	// Expires is in UTC and milliseconds, by the log's clock. An expired receipt has no
	// effect, although it may be stored for some time.
	Expires time.Time
}

// ReceiptKey is a keyed hash of the name of a receipt.
type ReceiptKey [32]byte

// StoredReceipt is a receipt and its stream.
type StoredReceipt struct {
	Receipt
	Stream events.Stream
}

// ClaimOp takes or releases a key.
type ClaimOp struct {
	Key     ClaimKey
	Release bool
}

// ClaimKey is a keyed hash of a unique value, such as an email address.
type ClaimKey [32]byte

// ClaimRule describes all claims together.
type ClaimRule struct {
	Number int // as events.ClaimRule
	// Shared means that the last ReplaceClaims gave one key to several streams. They may
	// have released it since.
	Shared bool
}

// HeldClaim is a key and a stream that holds it.
type HeldClaim struct {
	Key    ClaimKey
	Stream events.Stream
}

// Compare orders claims by the bytes of their keys, then by stream.
func (c HeldClaim) Compare(other HeldClaim) int {
	return cmp.Or(bytes.Compare(c.Key[:], other.Key[:]), cmp.Compare(c.Stream, other.Stream))
}

// Record is an event as a backend stores it.
type Record struct {
	Position uint64
	Stream   events.Stream
	Version  uint64
	ID       ulid.ULID
	Type     string
	Time     time.Time // UTC, milliseconds
	// Metadata and Data are JSON. They are encrypted if events.Sealed(Type).
	Metadata []byte
	Data     []byte
}

// StreamHead is the end of a stream.
type StreamHead struct {
	Version  uint64
	Position uint64
}

// CloneAll returns copies of records that share no memory with them. All bytes are in one
// allocation.
func CloneAll(records []Record) []Record {
	size := 0
	for _, r := range records {
		size += len(r.Metadata) + len(r.Data)
	}
	buf, clones := make([]byte, 0, size), slices.Clone(records)
	clone := func(b []byte) []byte {
		from := len(buf)
		buf = append(buf, b...)
		return buf[from:len(buf):len(buf)]
	}
	for i, r := range records {
		clones[i].Metadata, clones[i].Data = clone(r.Metadata), clone(r.Data)
	}
	return clones
}

// ChainHash links a record to all records before it. It is SHA-256 over the hash of the
// previous record (zeros for the first) and all fields of the record, with a length before
// each field of variable size. It covers the stored bytes, so the chain can be checked
// without keys and after an erasure.
func ChainHash(previous [sha256.Size]byte, r Record) [sha256.Size]byte {
	buf := slices.Grow(make([]byte, 0, 1024), 256+len(r.Metadata)+len(r.Data)) // on the stack for most records
	buf = append(buf, previous[:]...)
	buf = binary.BigEndian.AppendUint64(buf, r.Position)
	buf = binary.BigEndian.AppendUint64(buf, r.Version)
	buf = binary.BigEndian.AppendUint64(buf, uint64(r.Time.UnixMilli()))
	buf = append(buf, r.ID[:]...)
	for _, field := range [][]byte{[]byte(r.Stream), []byte(r.Type), r.Metadata, r.Data} {
		buf = binary.BigEndian.AppendUint32(buf, uint32(len(field)))
		buf = append(buf, field...)
	}
	return sha256.Sum256(buf)
}

// Check returns an error if the batch can never be stored. A backend calls it first, so that
// every record is read back as it was appended. The error means a bug in the caller.
func (b Batch) Check() error {
	if b.Stream == "" {
		return errors.New("batch has no stream")
	}
	for i, r := range b.Records {
		switch version := b.Expected + uint64(i) + 1; {
		case r.Stream != b.Stream:
			return fmt.Errorf("record %d of a batch for %s belongs to %q", i, b.Stream, r.Stream)
		case r.Version != version:
			return fmt.Errorf("record %d of a batch for %s has version %d, not %d", i, b.Stream, r.Version, version)
		case !isStorable(r.Time):
			return fmt.Errorf("record %d of a batch for %s has a time that is not UTC in milliseconds", i, b.Stream)
		}
	}
	if b.DropReceipts && len(b.Receipts) > 0 {
		return fmt.Errorf("a batch for %s both stores and drops receipts", b.Stream)
	}
	for i, r := range b.Receipts {
		if !isStorable(r.Expires) {
			return fmt.Errorf("receipt %d of a batch for %s expires at a time that is not UTC in milliseconds", i, b.Stream)
		}
		if slices.ContainsFunc(b.Receipts[:i], func(other Receipt) bool { return other.Key == r.Key }) {
			return fmt.Errorf("receipt %d of a batch for %s appears twice", i, b.Stream)
		}
	}
	return nil
}

// isStorable reports whether a time is read back as it is.
func isStorable(t time.Time) bool { return t == t.UTC().Truncate(time.Millisecond) }
