package eventstore

import (
	"context"
	"fmt"
	"iter"

	"konto/events"
)

// foldPage is how many events of a stream are read at once.
const foldPage = 500

// Records iterates over the records of a stream after a version, up to another version or the
// end of the stream. If there is an error, it is the last thing yielded.
func Records(ctx context.Context, log Reader, stream events.Stream, after, upTo uint64) iter.Seq2[Record, error] {
	return pages(after, upTo, func(after uint64, limit int) ([]Record, error) {
		return log.ReadStream(ctx, stream, after, limit)
	}, func(r Record) uint64 { return r.Version })
}

// Events is Records, decrypted.
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

// Fold applies to a state the events that follow it in its stream, up to a version or the end
// of the stream. version points to the version of the state, and apply is its method Apply.
// Errors: those of ReadStream; ErrMisplaced and *events.DecodeError, each in an *EventError.
// After an error the state holds the events before the one that failed.
func (s *Store) Fold(ctx context.Context, stream events.Stream, upTo uint64, version *uint64, apply func(events.Event, events.Payload)) error {
	for e, err := range s.Events(ctx, stream, *version, upTo) {
		if err != nil {
			return err
		}
		payload, err := e.Payload()
		if err == nil && e.Version == *version+1 {
			apply(e, payload) // does not change the version if the event does not belong to the stream
		}
		if err == nil && *version != e.Version {
			err = fmt.Errorf("%w %s", ErrMisplaced, stream)
		}
		if err != nil {
			return &EventError{e.Type, e.Position, err}
		}
	}
	return nil
}
