package eventstore

import (
	"errors"
	"fmt"

	"konto/events"
)

var (
	// ErrConflict is matched by *VersionConflict. Nothing was stored; read the
	// stream again and decide anew.
	ErrConflict = errors.New("stream is at another version")

	// ErrTaken is matched by *ClaimTaken and *Taken. Nothing was stored.
	ErrTaken = errors.New("key is held by another stream")

	// ErrRepeated is matched by *Repeated. Nothing was stored; the receipt tells
	// what was stored the first time.
	ErrRepeated = errors.New("was appended before")

	// ErrOutcomeUnknown tells that an append may or may not have been stored:
	// the caller must not acknowledge it, and must read the stream before it
	// decides anything that depends on it.
	ErrOutcomeUnknown = errors.New("append may or may not have been stored")

	// ErrClosed is returned by a log that was closed.
	ErrClosed = errors.New("log is closed")

	// ErrNoKey tells that an event cannot be read because its stream's key is
	// not in the keyring. The log is intact; the keyring is not the log's own,
	// or an old one.
	ErrNoKey = errors.New("no key for stream")

	// ErrDamagedKey tells that a stream's stored key was changed, or is another
	// stream's. The log is intact; the keyring has to be restored from its backup.
	ErrDamagedKey = errors.New("stored key is damaged or another stream's")

	// ErrDestroyed tells that the key of a stream was destroyed, for good: what
	// the stream's sealed events said is gone, and none can follow them. The log
	// and the keyring are intact. It does not match ErrNoKey.
	ErrDestroyed = errors.New("key of stream was destroyed")

	// ErrMetadata tells that an event's metadata is not what konto writes: a
	// newer konto wrote it.
	ErrMetadata = errors.New("metadata does not decode")

	// ErrMisplaced is returned by Fold for an event that does not follow the events
	// before it, or does not belong in a stream of its category. The log is damaged.
	ErrMisplaced = errors.New("it does not belong there in")

	// ErrSealBroken tells that an event's stored bytes do not fit its key:
	// they were changed, moved, or belong to another log.
	ErrSealBroken = errors.New("stored bytes do not fit their key")
)

// EventError names the event that cannot be read or folded.
type EventError struct {
	Type     string
	Position uint64
	Err      error
}

// Error quotes nothing of the payload, which the message of a decoder may do: the
// text goes to logs and health reports.
func (e *EventError) Error() string {
	cause := e.Err.Error()
	if decode := (*events.DecodeError)(nil); errors.As(e.Err, &decode) {
		cause = "its data cannot be decoded"
		if errors.Is(decode, events.ErrUnknownType) {
			cause = events.ErrUnknownType.Error()
		}
	}
	return fmt.Sprintf("event %s at position %d: %s", e.Type, e.Position, cause)
}

// Unwrap returns why the event cannot be read or folded.
func (e *EventError) Unwrap() error { return e.Err }

// VersionConflict says at which version the stream really is.
type VersionConflict struct {
	Stream   events.Stream
	Expected uint64
	Actual   uint64
}

func (e *VersionConflict) Error() string {
	return fmt.Sprintf("%s is at version %d, not %d", e.Stream, e.Actual, e.Expected)
}

// Is matches ErrConflict.
func (e *VersionConflict) Is(target error) bool { return target == ErrConflict }

// ClaimTaken says which key of a batch another stream holds.
type ClaimTaken struct {
	Key    ClaimKey
	Holder events.Stream
}

func (e *ClaimTaken) Error() string { return "key is held by " + string(e.Holder) }

// Is matches ErrTaken.
func (e *ClaimTaken) Is(target error) bool { return target == ErrTaken }

// Repeated says which receipt of a batch is there already.
type Repeated struct {
	Key    ReceiptKey
	Stream events.Stream // with which it was left
}

func (e *Repeated) Error() string { return "was appended to " + string(e.Stream) + " before" }

// Is matches ErrRepeated.
func (e *Repeated) Is(target error) bool { return target == ErrRepeated }

// Taken is ClaimTaken in the words of the store's callers.
type Taken struct {
	Kind   string // of the claim
	Holder events.Stream
}

func (e *Taken) Error() string { return e.Kind + " is held by " + string(e.Holder) }

// Is matches ErrTaken.
func (e *Taken) Is(target error) bool { return target == ErrTaken }
