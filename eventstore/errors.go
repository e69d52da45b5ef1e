package eventstore

import (
	"errors"
	"fmt"

	"konto/events"
)

var (
	// ErrConflict is matched by *VersionConflict. Nothing was stored. Read the stream
	// again and decide again.
	ErrConflict = errors.New("stream is at another version")

	// ErrTaken is matched by *ClaimTaken and *Taken. Nothing was stored.
	ErrTaken = errors.New("key is held by another stream")

	// ErrRepeated is matched by *Repeated. Nothing was stored. The receipt holds the
	// result of the first append.
	ErrRepeated = errors.New("was appended before")

	// ErrOutcomeUnknown means that an append may or may not have been stored. Do not
	// acknowledge it. Read the stream before you make a decision that depends on it.
	ErrOutcomeUnknown = errors.New("append may or may not have been stored")

	// ErrClosed is returned by a log that was closed.
	ErrClosed = errors.New("log is closed")

	// ErrNoKey means that the keyring lacks the key of an event's stream. The log is
	// intact. The keyring belongs to another log, or is an old copy.
	ErrNoKey = errors.New("no key for stream")

	// ErrDamagedKey means that the stored key of a stream was changed, or is the key of
	// another stream. The log is intact. Restore the keyring from its backup.
	ErrDamagedKey = errors.New("stored key is damaged or another stream's")

	// ErrDestroyed means that the key of a stream was destroyed for good. The content of
	// its encrypted events is gone, and no encrypted event can follow. The log and the
	// keyring are intact. It does not match ErrNoKey.
	ErrDestroyed = errors.New("key of stream was destroyed")

	// ErrMetadata means that an event's metadata was written by a newer konto.
	ErrMetadata = errors.New("metadata does not decode")

	// ErrMisplaced is returned by Fold for an event that does not follow the previous
	// event, or does not belong in a stream of its category. The log is damaged.
	ErrMisplaced = errors.New("the event does not belong in")

	// ErrSealBroken means that an event's stored bytes do not fit its key. They were
	// changed or moved, or belong to another log.
	ErrSealBroken = errors.New("stored bytes do not fit their key")
)

// EventError names an event that cannot be read or folded.
type EventError struct {
	Type     string
	Position uint64
	Err      error
}

// Error never quotes the payload, as the message of a decoder may do, because the text goes to
// logs and health reports.
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

// Unwrap returns the cause.
func (e *EventError) Unwrap() error { return e.Err }

// VersionConflict reports the actual version of a stream.
type VersionConflict struct {
	Stream   events.Stream
	Expected uint64
	Actual   uint64
}

// Error names the stream and both versions.
func (e *VersionConflict) Error() string {
	return fmt.Sprintf("%s is at version %d, not %d", e.Stream, e.Actual, e.Expected)
}

// Is matches ErrConflict.
func (e *VersionConflict) Is(target error) bool { return target == ErrConflict }

// ClaimTaken names a key of a batch and the stream that holds it.
type ClaimTaken struct {
	Key    ClaimKey
	Holder events.Stream
}

// Error names the holder and not the key, of which the log has only a hash.
func (e *ClaimTaken) Error() string { return "key is held by " + string(e.Holder) }

// Is matches ErrTaken.
func (e *ClaimTaken) Is(target error) bool { return target == ErrTaken }

// Repeated names a receipt of a batch that exists already.
type Repeated struct {
	Key    ReceiptKey
	Stream events.Stream // of the receipt
}

// Error names the stream that the first append went to.
func (e *Repeated) Error() string { return "was appended to " + string(e.Stream) + " before" }

// Is matches ErrRepeated.
func (e *Repeated) Is(target error) bool { return target == ErrRepeated }

// Taken is ClaimTaken for callers of Store, who know the kind of the claim.
type Taken struct {
	Kind   string
	Holder events.Stream
}

// Error names the kind of the claim and not its value, which may be personal data.
func (e *Taken) Error() string { return e.Kind + " is held by " + string(e.Holder) }

// Is matches ErrTaken.
func (e *Taken) Is(target error) bool { return target == ErrTaken }
