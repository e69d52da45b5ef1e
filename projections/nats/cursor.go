package nats

import (
	"context"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/oklog/ulid/v2"

	"konto/eventstore"
)

// cursorName is the publisher's name among the cursors.
const cursorName = "publisher"

// Cursor is how far the publisher got, and on which incarnation of the stream.
// The zero Cursor is none.
type Cursor struct {
	Position      uint64    `json:"position"`
	Event         ulid.ULID `json:"event"`    // at that position, by which a cursor is known to be of this log
	Sequence      uint64    `json:"sequence"` // the stream's last when the cursor was written
	StreamCreated time.Time `json:"streamCreated"`
}

// Cursors keeps cursors by name. *projections.ReadModel does.
type Cursors interface {
	// Cursor returns what SetCursor last stored under a name, nil if nothing was.
	Cursor(ctx context.Context, name string) ([]byte, error)
	// SetCursor stores a value durably.
	SetCursor(ctx context.Context, name string, value []byte) error
}

func loadCursor(ctx context.Context, from Cursors) (Cursor, error) {
	value, err := from.Cursor(ctx, cursorName)
	if err != nil {
		return Cursor{}, fmt.Errorf("load the publisher's cursor: %w", err)
	}
	var c Cursor
	if len(value) == 0 {
		return c, nil
	}
	if err := json.Unmarshal(value, &c); err != nil {
		return Cursor{}, fmt.Errorf("load the publisher's cursor: %w", err)
	}
	return c, nil
}

func saveCursor(ctx context.Context, to Cursors, c Cursor) error {
	value, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("save the publisher's cursor: %w", err)
	}
	if err := to.SetCursor(ctx, cursorName, value); err != nil {
		return fmt.Errorf("save the publisher's cursor: %w", err)
	}
	return nil
}

// eventAt returns the id of the event at a position, zeros when the log holds none.
func eventAt(ctx context.Context, store *eventstore.Store, position uint64) (id ulid.ULID, err error) {
	if position == 0 {
		return id, nil
	}
	at, err := store.ReadAll(ctx, position-1, 1)
	if err != nil || len(at) == 0 || at[0].Position != position {
		return id, err
	}
	return at[0].ID, nil
}

// fits tells that the stream is the one the cursor was written for, and holds
// at least as much: sequences never go down when messages age out or are
// purged, only when files were lost.
func (c Cursor) fits(t tail) bool {
	return c.StreamCreated.Equal(t.created) && t.sequence >= c.Sequence
}

// resume is the position after which publishing goes on; doc.go has it as a
// table. held is the position up to which events are older than the stream's
// retention.
func (c Cursor) resume(t tail, held uint64) uint64 {
	switch {
	case t.messages > 0 && c.fits(t) && (t.last.position == 0 || t.last.sequence <= c.Sequence):
		return c.Position // what follows the cursor in the stream, if anything, is not ours
	case t.messages > 0 && t.last.position > 0:
		return t.last.position
	case c == Cursor{}:
		return 0
	}
	return min(c.Position, held)
}

// olderThan returns the position before the first event that is not older than
// a time, upto at most. It reads all events up to there: a clock may have been
// wrong and set right, so that times do not follow positions, and a bisection
// could land behind events that are young enough. This happens only when a
// stream that was published to is found empty.
func olderThan(ctx context.Context, store *eventstore.Store, limit time.Time, upto uint64) (uint64, error) {
	var after uint64
	for after < upto {
		page, err := store.ReadAll(ctx, after, window)
		if err != nil {
			return 0, err
		}
		for _, e := range page {
			if e.Position > upto || !e.Time.Before(limit) {
				return after, nil
			}
			after = e.Position
		}
		if len(page) == 0 {
			return after, nil
		}
	}
	return after, nil
}
