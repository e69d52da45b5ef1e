package eventstore

import (
	"context"
	"crypto/cipher"
	"errors"

	"konto/events"
)

// OpenPayload decrypts a record for those who fold it: as OpenRecord, but the
// event's Metadata is left out, which no fold looks at. Errors: ErrNoKey,
// ErrSealBroken.
func OpenPayload(ctx context.Context, keys Keys, r Record) (events.Event, error) {
	var aead cipher.AEAD
	if events.Sealed(r.Type) {
		var err error
		if aead, err = keys.Cipher(ctx, r.Stream); err != nil && !errors.Is(err, ErrDestroyed) {
			return events.Event{}, err
		}
	}
	return OpenPayloadWith(aead, r, nil)
}

// OpenPayloadWith is OpenPayload for who has the stream's cipher; it is nil for a
// stream whose key was destroyed. The event's data is put behind into, as append
// does.
func OpenPayloadWith(aead cipher.AEAD, r Record, into []byte) (events.Event, error) {
	e := events.Event{
		ID: r.ID, Stream: r.Stream, Version: r.Version, Position: r.Position,
		Type: r.Type, Time: r.Time,
	}
	switch {
	case !events.Sealed(r.Type):
		e.Data = append(into, r.Data...)
	case aead == nil:
		e.Shredded = true
	default:
		var err error
		if e.Data, err = aead.Open(into, nil, r.Data, append(binding(&r), boundData...)); err != nil {
			return events.Event{}, ErrSealBroken
		}
	}
	return e, nil
}
