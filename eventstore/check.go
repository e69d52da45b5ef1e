package eventstore

import (
	"context"

	"konto/events"
)

// OpenRecord decrypts one record, as ReadAll does for those it reads. Errors:
// ErrNoKey, ErrSealBroken, ErrMetadata; of a record whose key was destroyed it
// gives a shredded event.
func (s *Store) OpenRecord(ctx context.Context, r Record) (events.Event, error) {
	return s.openOne(ctx, r)
}
