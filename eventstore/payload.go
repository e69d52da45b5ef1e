package eventstore

import (
	"context"
	"errors"

	"konto/events"
)

// OpenPayload decrypts a record for a fold. It is OpenRecord without the event's
// Metadata, which no fold needs. Errors: ErrNoKey, ErrSealBroken.
func OpenPayload(ctx context.Context, keys Keys, r Record) (events.Event, error) {
	e := events.Event{
		ID: r.ID, Stream: r.Stream, Version: r.Version, Position: r.Position,
		Type: r.Type, Time: r.Time,
	}
	if !events.Sealed(r.Type) {
		e.Data = r.Data
		return e, nil
	}
	aead, err := keys.Cipher(ctx, r.Stream)
	if errors.Is(err, ErrDestroyed) {
		return shredded(e), nil
	}
	if err != nil {
		return events.Event{}, err
	}
	if e.Data, err = aead.Open(nil, nil, r.Data, append(binding(&r), boundData...)); err != nil {
		return events.Event{}, ErrSealBroken
	}
	return e, nil
}
