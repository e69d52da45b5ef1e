package eventstore

import (
	"context"

	"konto/events"
)

// Seal turns an event of another log into the record that stands for it in this
// one, which is appended to the backend itself: events of all streams in their
// order, none of them anew. The first of a stream makes its key. Of a shredded
// event there is nothing left to seal; whoever moves it destroys its stream's key
// here as well.
func (s *Store) Seal(ctx context.Context, e events.Event) (Record, error) {
	if e.Shredded {
		return Record{Stream: e.Stream, Version: e.Version, ID: e.ID, Type: e.Type, Time: e.Time}, nil
	}
	records, err := s.seal(ctx, e.Stream, e.Version-1, []events.Event{e})
	if err != nil {
		return Record{}, err
	}
	return records[0], nil
}
