package commands

import (
	"context"
	"errors"
	"fmt"
	"time"

	"konto/events"
	"konto/eventstore"
)

// streamWriter appends to streams that change too seldom to need a lane.
type streamWriter struct {
	store *eventstore.Store
	now   Clock
	ids   *idSource
}

// newStreamWriter makes one; now may be nil.
func newStreamWriter(store *eventstore.Store, now Clock) streamWriter {
	if now == nil {
		now = time.Now
	}
	return streamWriter{store: store, now: now, ids: newIDSource()}
}

// append stores one event on top of a version, and returns its position.
func (w *streamWriter) append(ctx context.Context, stream events.Stream, version uint64, meta events.Metadata, p events.Payload, claims ...eventstore.ClaimChange) (uint64, error) {
	at := w.now()
	id, err := w.ids.next(at)
	if err != nil {
		return 0, err
	}
	e, err := events.New(stream, version+1, id, at, meta, p)
	if err != nil {
		return 0, err
	}
	position, err := w.store.Append(ctx, stream, version, claims, []events.Event{e})
	if err != nil {
		return 0, fmt.Errorf("append to %s: %w", stream, err)
	}
	return position, nil
}

// retried repeats what reads a stream, decides and appends while others were
// faster, and gives up with ErrBusy.
func retried(attempt func() (position uint64, err error)) (uint64, error) {
	for range maxAttempts {
		if position, err := attempt(); !errors.Is(err, eventstore.ErrConflict) {
			return position, err
		}
	}
	return 0, ErrBusy
}
