package projections

import (
	"errors"
	"fmt"
	"slices"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/sqlitefile"
)

// ErrOutOfStep tells that a projection and the log do not fit together: an
// event of a stream is missing between them, or the projection was made from
// another log. Nothing was applied. A read.db may be deleted, it is rebuilt.
var ErrOutOfStep = errors.New("projection is out of step with the log")

// incurable tells whether an error will come again however often the step is
// repeated, until somebody repairs a file or starts another konto. Everything
// else, such as a full disk, passes.
func incurable(err error) bool {
	if decode := (*events.DecodeError)(nil); errors.As(err, &decode) {
		return true
	}
	return slices.ContainsFunc([]error{
		ErrOutOfStep, eventstore.ErrNoKey, eventstore.ErrSealBroken, eventstore.ErrMetadata, eventstore.ErrMisplaced,
		eventstore.ErrClosed, sqlitefile.ErrMalformed,
	}, func(known error) bool { return errors.Is(err, known) })
}

// applyError names the event that a projection cannot take in.
type applyError struct {
	event    string // the type
	position uint64
	err      error
}

// Error holds nothing of the payload, which a decoder's own message may quote:
// the text goes to logs and health reports.
func (e *applyError) Error() string {
	cause := e.err.Error()
	if decode := (*events.DecodeError)(nil); errors.As(e.err, &decode) {
		cause = "its data cannot be decoded"
		if errors.Is(decode, events.ErrUnknownType) {
			cause = events.ErrUnknownType.Error()
		}
	}
	return fmt.Sprintf("event %s at position %d: %s", e.event, e.position, cause)
}

func (e *applyError) Unwrap() error { return e.err }
