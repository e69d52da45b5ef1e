package commands

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
)

// entropy is for ids: those of one millisecond ascend.
var entropy = &ulid.LockedMonotonicReader{MonotonicReader: ulid.Monotonic(rand.Reader, 0)}

// newID makes a ULID for a point in time.
func newID(at time.Time) (ulid.ULID, error) {
	id, err := ulid.New(ulid.Timestamp(at), entropy)
	if err != nil {
		return id, fmt.Errorf("make an id: %w", err)
	}
	return id, nil
}

// newEvent makes a payload an event with a new id.
func newEvent(stream events.Stream, version uint64, at time.Time, meta events.Metadata, p events.Payload) (events.Event, error) {
	id, err := newID(at)
	if err != nil {
		return events.Event{}, err
	}
	return events.New(stream, version, id, at, meta, p)
}

// streamWriter appends to streams that change too seldom to need a queue: each change reads
// its stream, decides and appends.
type streamWriter struct {
	store *eventstore.Store
	now   Clock
}

// newStreamWriter makes a streamWriter. now may be nil.
func newStreamWriter(store *eventstore.Store, now Clock) streamWriter {
	if now == nil {
		now = time.Now
	}
	return streamWriter{store: store, now: now}
}

// append stores one event on top of a version, and returns its position.
func (w *streamWriter) append(ctx context.Context, stream events.Stream, version uint64, meta events.Metadata, p events.Payload, claims ...eventstore.ClaimChange) (uint64, error) {
	e, err := newEvent(stream, version+1, w.now(), meta, p)
	if err != nil {
		return 0, err
	}
	position, err := w.store.Append(ctx, stream, version, claims, []events.Event{e})
	if err != nil {
		return 0, fmt.Errorf("append to %s: %w", stream, err)
	}
	return position, nil
}

// retryConflicts calls change again while others append to its stream first, and gives up
// with ErrBusy.
func retryConflicts(change func() (position uint64, err error)) (uint64, error) {
	for range maxAttempts {
		if position, err := change(); !errors.Is(err, eventstore.ErrConflict) {
			return position, err
		}
	}
	return 0, ErrBusy
}
