package eventstore

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"

	"konto/events"
)

// Seal turns an event of another log into a record, which is then appended to this log
// directly. The first event of a stream creates its key. A shredded event becomes a record
// without content; the caller destroys the key of its stream.
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

// seal turns events into records. It needs the stream's key only for events that are
// encrypted, because a stream must end even if its key is gone.
func (s *Store) seal(ctx context.Context, stream events.Stream, expected uint64, evs []events.Event) ([]Record, error) {
	var aead cipher.AEAD
	var err error
	if slices.ContainsFunc(evs, func(e events.Event) bool { return events.Sealed(e.Type) }) {
		if aead, err = s.cipher(ctx, stream, expected); err != nil {
			return nil, err
		}
	}
	records := make([]Record, len(evs))
	for i, e := range evs {
		if records[i], err = sealOne(aead, e); err != nil {
			return nil, err
		}
	}
	return records, nil
}

func (s *Store) cipher(ctx context.Context, stream events.Stream, version uint64) (cipher.AEAD, error) {
	if version == 0 {
		return s.keys.Create(ctx, stream)
	}
	return s.keys.Cipher(ctx, stream)
}

func sealOne(aead cipher.AEAD, e events.Event) (Record, error) {
	meta, err := e.Metadata.Encode()
	if err != nil {
		return Record{}, fmt.Errorf("encode metadata: %w", err)
	}
	r := Record{
		Stream: e.Stream, Version: e.Version, ID: e.ID, Type: e.Type,
		Time: e.Time, Metadata: meta, Data: e.Data,
	}
	if events.Sealed(e.Type) {
		prefix := binding(&r)
		r.Metadata = aead.Seal(meta[:0], nil, meta, append(prefix, boundMetadata...)) // overwrites meta
		r.Data = aead.Seal(nil, nil, e.Data, append(prefix, boundData...))
	}
	return r, nil
}

func (s *Store) open(ctx context.Context, records []Record) ([]events.Event, error) {
	if err := Prefetch(ctx, s.keys, records); err != nil {
		return nil, err
	}
	evs := make([]events.Event, len(records))
	for i, r := range records {
		e, err := s.OpenRecord(ctx, r)
		if err != nil {
			return evs[:i], &EventError{r.Type, r.Position, err}
		}
		evs[i] = e
	}
	return evs, nil
}

// Prefetch prepares the keys of records that are about to be given to OpenRecord; see Prefetcher.
func (s *Store) Prefetch(ctx context.Context, records []Record) error {
	return Prefetch(ctx, s.keys, records)
}

// OpenRecord decrypts a record. If its key was destroyed, it returns a shredded event.
// Errors: ErrNoKey, ErrSealBroken, ErrMetadata.
func (s *Store) OpenRecord(ctx context.Context, r Record) (events.Event, error) {
	return openRecord(ctx, s.keys, r, true)
}

// OpenPayload is OpenRecord without the event's Metadata, which no fold needs. Errors:
// ErrNoKey, ErrSealBroken.
func OpenPayload(ctx context.Context, keys Keys, r Record) (events.Event, error) {
	return openRecord(ctx, keys, r, false)
}

func openRecord(ctx context.Context, keys Keys, r Record, withMetadata bool) (events.Event, error) {
	e, meta, data := shredded(r), r.Metadata, r.Data
	if events.Sealed(r.Type) {
		aead, err := keys.Cipher(ctx, r.Stream)
		if errors.Is(err, ErrDestroyed) {
			return e, nil
		}
		if err != nil {
			return events.Event{}, err
		}
		prefix := binding(&r)
		data, err = aead.Open(nil, nil, r.Data, append(prefix, boundData...))
		if err == nil && withMetadata {
			meta, err = aead.Open(nil, nil, r.Metadata, append(prefix, boundMetadata...))
		}
		if err != nil {
			return events.Event{}, ErrSealBroken
		}
	}
	if withMetadata && json.Unmarshal(meta, &e.Metadata) != nil { // whose message may quote it
		return events.Event{}, ErrMetadata
	}
	e.Data, e.Shredded = data, false
	return e, nil
}

// shredded is what remains of an event whose key was destroyed.
func shredded(r Record) events.Event {
	return events.Event{
		ID: r.ID, Stream: r.Stream, Version: r.Version, Position: r.Position,
		Type: r.Type, Time: r.Time, Shredded: true,
	}
}

// The names of the encrypted fields of a record.
const (
	boundMetadata = "metadata"
	boundData     = "data"
)

// binding returns the beginning of the additional data that binds a ciphertext to its record,
// so that no stored piece can take the place of another. The name of the field is appended.
// It does not use fmt, which would take as long as the decryption.
func binding(r *Record) []byte {
	b := make([]byte, 0, 160)
	b = append(append(b, r.Stream...), '|')
	b = append(strconv.AppendUint(b, r.Version, 10), '|')
	b = append(append(b, r.ID.String()...), '|')
	b = append(append(b, r.Type...), '|')
	return append(strconv.AppendInt(b, r.Time.UnixMilli(), 10), '|')
}
