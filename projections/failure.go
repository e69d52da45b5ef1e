package projections

import (
	"errors"
	"slices"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/sqlitefile"
)

// ErrOutOfStep is returned when a projection and the log do not fit together: an
// event of a stream is missing between them, or the projection was made from
// another log. Nothing was applied. A read.db may be deleted: konto rebuilds it.
var ErrOutOfStep = errors.New("projection is out of step with the log")

// incurable reports whether an error comes again however often the step is
// retried, until somebody repairs a file or starts another version of konto.
// All other errors, such as a full disk, may pass.
func incurable(err error) bool {
	if decode := (*events.DecodeError)(nil); errors.As(err, &decode) {
		return true
	}
	return slices.ContainsFunc([]error{
		ErrOutOfStep, eventstore.ErrNoKey, eventstore.ErrSealBroken, eventstore.ErrMetadata, eventstore.ErrMisplaced,
		eventstore.ErrClosed, sqlitefile.ErrMalformed,
	}, func(known error) bool { return errors.Is(err, known) })
}
