package eventstore

import (
	"context"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"

	"konto/events"
)

// Keys holds the key of each stream. Implementations are safe for concurrent use.
type Keys interface {
	// Create returns the stream's cipher, made if the stream has none. The key
	// is durable before Create returns: no event may outlive its key.
	Create(ctx context.Context, stream events.Stream) (cipher.AEAD, error)

	// Cipher returns the stream's cipher, or an error that matches ErrNoKey.
	// It puts a random nonce in front of what it seals.
	Cipher(ctx context.Context, stream events.Stream) (cipher.AEAD, error)

	// Derive returns a 256-bit secret of this keyring for one purpose, always the same.
	Derive(purpose string) []byte
}

// Store is the log as the other rooms use it.
type Store struct {
	log        Log
	keys       Keys
	claimKey   []byte
	receiptKey []byte
}

// ClaimChange takes or releases a claim.
type ClaimChange struct {
	events.Claim
	Release bool
}

// NewStore puts events into log, encrypted with keys. It owns neither.
func NewStore(log Log, keys Keys) *Store {
	return &Store{log: log, keys: keys, claimKey: keys.Derive("claims"), receiptKey: keys.Derive("receipts")}
}

// Append stores the events, whose versions follow expected, and leaves the
// receipts. It returns the position of the last event. Its errors are those of
// Appender, with *Taken in place of *ClaimTaken.
func (s *Store) Append(ctx context.Context, stream events.Stream, expected uint64, claims []ClaimChange, evs []events.Event, receipts ...NamedReceipt) (uint64, error) {
	batch := Batch{Stream: stream, Expected: expected}
	var err error
	if batch.Records, err = s.seal(ctx, stream, expected, evs); err != nil {
		return 0, err
	}
	if batch.Receipts, err = s.sealReceipts(ctx, stream, expected, receipts); err != nil {
		return 0, err
	}
	for _, c := range claims {
		batch.Claims = append(batch.Claims, ClaimOp{Key: s.claim(c.Claim), Release: c.Release})
	}
	last, err := s.log.Append(ctx, batch)
	var taken *ClaimTaken
	if errors.As(err, &taken) {
		for i, op := range batch.Claims {
			if op.Key == taken.Key {
				return 0, &Taken{Kind: claims[i].Kind, Holder: taken.Holder}
			}
		}
	}
	return last, err
}

// ReadStream returns up to limit events of the stream after a version. When an
// event cannot be read, those before it are returned with the error.
func (s *Store) ReadStream(ctx context.Context, stream events.Stream, after uint64, limit int) ([]events.Event, error) {
	records, err := s.log.ReadStream(ctx, stream, after, limit)
	if err != nil {
		return nil, err
	}
	return s.open(ctx, records)
}

// ReadAll returns up to limit events after a position. When an event cannot be
// read, those before it are returned with the error.
func (s *Store) ReadAll(ctx context.Context, after uint64, limit int) ([]events.Event, error) {
	records, err := s.log.ReadAll(ctx, after, limit)
	if err != nil {
		return nil, err
	}
	return s.open(ctx, records)
}

// Holder returns the stream that holds a claim, "" when none does.
func (s *Store) Holder(ctx context.Context, c events.Claim) (events.Stream, error) {
	return s.log.Holder(ctx, s.claim(c))
}

// StreamHead returns where a stream ends; see Reader.
func (s *Store) StreamHead(ctx context.Context, stream events.Stream) (StreamHead, error) {
	return s.log.StreamHead(ctx, stream)
}

// Head returns the log's last position; see Feed.
func (s *Store) Head(ctx context.Context) (uint64, error) { return s.log.Head(ctx) }

// Wait returns once an event follows the position after; see Feed.
func (s *Store) Wait(ctx context.Context, after uint64) error { return s.log.Wait(ctx, after) }

// Derive returns a 256-bit secret of the keyring for one purpose, always the same.
func (s *Store) Derive(purpose string) []byte { return s.keys.Derive(purpose) }

func (s *Store) cipher(ctx context.Context, stream events.Stream, version uint64) (cipher.AEAD, error) {
	if version == 0 {
		return s.keys.Create(ctx, stream)
	}
	return s.keys.Cipher(ctx, stream)
}

// claim hashes a key so that the log can compare keys and never read one.
func (s *Store) claim(c events.Claim) (key ClaimKey) {
	mac := hmac.New(sha256.New, s.claimKey)
	mac.Write([]byte(c.Kind))
	mac.Write([]byte{0}) // no kind contains it, so kind and value cannot run together
	mac.Write([]byte(c.Value))
	mac.Sum(key[:0])
	return key
}

// seal turns events into records. It needs the stream's key only for payloads
// that are encrypted: a stream can be ended when its key is gone.
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

func sealOne(aead cipher.AEAD, e events.Event) (Record, error) {
	meta, err := json.Marshal(e.Metadata)
	if err != nil {
		return Record{}, fmt.Errorf("encode metadata: %w", err)
	}
	r := Record{
		Stream: e.Stream, Version: e.Version, ID: e.ID, Type: e.Type,
		Time: e.Time, Metadata: meta, Data: e.Data,
	}
	if events.Sealed(e.Type) {
		r.Metadata = aead.Seal(nil, nil, meta, binding(r, "metadata"))
		r.Data = aead.Seal(nil, nil, e.Data, binding(r, "data"))
	}
	return r, nil
}

func (s *Store) open(ctx context.Context, records []Record) ([]events.Event, error) {
	evs := make([]events.Event, len(records))
	for i, r := range records {
		e, err := s.openOne(ctx, r)
		if err != nil {
			return evs[:i], fmt.Errorf("event %s at position %d: %w", r.Type, r.Position, err)
		}
		evs[i] = e
	}
	return evs, nil
}

func (s *Store) openOne(ctx context.Context, r Record) (events.Event, error) {
	meta, data, err := s.unseal(ctx, r)
	if err != nil {
		return events.Event{}, err
	}
	e := events.Event{
		ID: r.ID, Stream: r.Stream, Version: r.Version, Position: r.Position,
		Type: r.Type, Time: r.Time, Data: data,
	}
	if json.Unmarshal(meta, &e.Metadata) != nil { // whose message may quote it
		return events.Event{}, ErrMetadata
	}
	return e, nil
}

func (s *Store) unseal(ctx context.Context, r Record) (meta, data []byte, err error) {
	if !events.Sealed(r.Type) {
		return r.Metadata, r.Data, nil
	}
	aead, err := s.keys.Cipher(ctx, r.Stream)
	if err != nil {
		return nil, nil, err
	}
	meta, errMeta := aead.Open(nil, nil, r.Metadata, binding(r, "metadata"))
	data, errData := aead.Open(nil, nil, r.Data, binding(r, "data"))
	if errMeta != nil || errData != nil {
		return nil, nil, ErrSealBroken
	}
	return meta, data, nil
}

// binding ties a ciphertext to its place, so that what is stored cannot be
// exchanged for one another.
func binding(r Record, member string) []byte {
	return fmt.Appendf(nil, "%s|%d|%s|%s|%d|%s", r.Stream, r.Version, r.ID, r.Type, r.Time.UnixMilli(), member)
}
