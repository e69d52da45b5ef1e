package eventstore

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"konto/events"
)

// ErrMisplaced is returned by Fold for an event that does not follow the events
// before it, or does not belong in a stream of its category. The log is damaged, or
// a newer konto wrote it.
var ErrMisplaced = errors.New("event does not belong there in its stream")

// foldPage is how many events of a stream are read at a time.
const foldPage = 500

// Records iterates over the records of a stream after one version, up to another
// one or to the stream's end. An error is the last thing that it yields.
func Records(ctx context.Context, log Reader, stream events.Stream, after, upTo uint64) iter.Seq2[Record, error] {
	return pages(after, upTo, func(after uint64, limit int) ([]Record, error) {
		return log.ReadStream(ctx, stream, after, limit)
	}, func(r Record) uint64 { return r.Version })
}

// Events is Records with what the records hold, decrypted.
func (s *Store) Events(ctx context.Context, stream events.Stream, after, upTo uint64) iter.Seq2[events.Event, error] {
	return pages(after, upTo, func(after uint64, limit int) ([]events.Event, error) {
		return s.ReadStream(ctx, stream, after, limit)
	}, func(e events.Event) uint64 { return e.Version })
}

func pages[E any](after, upTo uint64, read func(after uint64, limit int) ([]E, error), version func(E) uint64) iter.Seq2[E, error] {
	return func(yield func(E, error) bool) {
		for after < upTo {
			limit := int(min(upTo-after, foldPage))
			page, err := read(after, limit)
			for _, e := range page {
				if after = version(e); !yield(e, nil) {
					return
				}
			}
			if err != nil {
				var none E
				yield(none, err)
				return
			}
			if len(page) < limit {
				return
			}
		}
	}
}

// Fold applies to a state the events that follow it in its stream, up to a version
// or to the stream's end. version points to the state's version, and apply is its
// method Apply. Errors: those of ReadStream, *events.DecodeError, ErrMisplaced; the
// state is then as it was before the event to blame.
func (s *Store) Fold(ctx context.Context, stream events.Stream, upTo uint64, version *uint64, apply func(events.Event, events.Payload)) error {
	for e, err := range s.Events(ctx, stream, *version, upTo) {
		if err != nil {
			return err
		}
		payload, err := e.Payload()
		if err != nil {
			return err
		}
		if e.Version != *version+1 {
			return misplaced(e)
		}
		if apply(e, payload); *version != e.Version {
			return misplaced(e)
		}
	}
	return nil
}

func misplaced(e events.Event) error {
	return fmt.Errorf("event %s at position %d, version %d of %s: %w", e.Type, e.Position, e.Version, e.Stream, ErrMisplaced)
}
