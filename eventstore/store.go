package eventstore

import (
	"context"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"

	"konto/events"
)

// Keys holds the key of each stream. Implementations are safe for concurrent use.
type Keys interface {
	// Create returns the stream's cipher, made if the stream has none. The key
	// is durable before Create returns: no event may outlive its key. A stream
	// whose key was destroyed never gets another: ErrDestroyed.
	Create(ctx context.Context, stream events.Stream) (cipher.AEAD, error)

	// Cipher returns the stream's cipher, or an error that matches ErrNoKey or
	// ErrDestroyed.
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
	recent     recent
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
// Appender, with *Taken in place of *ClaimTaken, and ErrDestroyed when something
// must be sealed for a stream whose key was destroyed.
//
// Events that end the stream take its receipts with them: what they tell of is
// over, and none is left for them. What the events' Data hold is kept for
// ReadNext, and must not be changed afterwards.
func (s *Store) Append(ctx context.Context, stream events.Stream, expected uint64, claims []ClaimChange, evs []events.Event, receipts ...NamedReceipt) (uint64, error) {
	batch := Batch{Stream: stream, Expected: expected, DropReceipts: slices.ContainsFunc(evs, ends)}
	var err error
	if batch.Records, err = s.seal(ctx, stream, expected, evs); err != nil {
		return 0, err
	}
	if !batch.DropReceipts {
		if batch.Receipts, err = s.sealReceipts(ctx, stream, expected, receipts); err != nil {
			return 0, err
		}
	}
	for _, c := range claims {
		batch.Claims = append(batch.Claims, ClaimOp{Key: s.ClaimKey(c.Claim), Release: c.Release})
	}
	batch.Stored = func(last uint64) { s.recent.add(evs, last) }
	last, err := s.log.Append(ctx, batch)
	if err == nil {
		s.forgetDestroyed(ctx, stream)
		return last, nil
	}
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

// Release gives up keys that a stream holds, at the version that it is expected
// at. It is for those whose claims nobody can tell any more because the stream's
// key was destroyed. Its errors are those of Appender.
func (s *Store) Release(ctx context.Context, stream events.Stream, expected uint64, keys ...ClaimKey) error {
	batch := Batch{Stream: stream, Expected: expected}
	for _, key := range keys {
		batch.Claims = append(batch.Claims, ClaimOp{Key: key, Release: true})
	}
	_, err := s.log.Append(ctx, batch)
	return err
}

// ReadStream returns up to limit events of the stream after a version. When an
// event cannot be read, those before it are returned with the error. One whose
// key was destroyed is no error: it comes back as a shredded event.
func (s *Store) ReadStream(ctx context.Context, stream events.Stream, after uint64, limit int) ([]events.Event, error) {
	records, err := s.log.ReadStream(ctx, stream, after, limit)
	if err != nil {
		return nil, err
	}
	return s.open(ctx, records)
}

// Last returns a stream's last event, the zero Event if it has none.
func (s *Store) Last(ctx context.Context, stream events.Stream) (events.Event, error) {
	head, err := s.log.StreamHead(ctx, stream)
	if err != nil || head.Version == 0 {
		return events.Event{}, err
	}
	found, err := s.ReadStream(ctx, stream, head.Version-1, 1)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("version %d is missing", head.Version)
	}
	if err != nil {
		return events.Event{}, fmt.Errorf("read %s: %w", stream, err)
	}
	return found[0], nil
}

// ReadAll returns up to limit events after a position, as ReadStream does. When
// an event cannot be read, those before it are returned with the error.
func (s *Store) ReadAll(ctx context.Context, after uint64, limit int) ([]events.Event, error) {
	records, err := s.log.ReadAll(ctx, after, limit)
	if err != nil {
		return nil, err
	}
	return s.open(ctx, records)
}

// Holder returns the stream that holds a claim, "" when none does; see Reader.
func (s *Store) Holder(ctx context.Context, c events.Claim) (events.Stream, error) {
	return s.log.Holder(ctx, s.ClaimKey(c))
}

// Claims returns the claims that are held; see Reader.
func (s *Store) Claims(ctx context.Context, after HeldClaim, limit int) ([]HeldClaim, error) {
	return s.log.Claims(ctx, after, limit)
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

// ClaimKey hashes a claim so that the log can compare keys and never read one.
func (s *Store) ClaimKey(c events.Claim) (key ClaimKey) {
	mac := hmac.New(sha256.New, s.claimKey)
	mac.Write([]byte(c.Kind))
	mac.Write([]byte{0}) // no kind contains it, so kind and value cannot run together
	mac.Write([]byte(c.Value))
	mac.Sum(key[:0])
	return key
}

// ends tells whether an event ends its stream: those are the ones in clear.
func ends(e events.Event) bool { return !events.Sealed(e.Type) }

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
	meta, err := e.Metadata.Encode()
	if err != nil {
		return Record{}, fmt.Errorf("encode metadata: %w", err)
	}
	r := Record{
		Stream: e.Stream, Version: e.Version, ID: e.ID, Type: e.Type,
		Time: e.Time, Metadata: meta, Data: e.Data,
	}
	if events.Sealed(e.Type) {
		place := binding(&r)
		r.Metadata = aead.Seal(meta[:0], nil, meta, append(place, boundMetadata...)) // over the bytes that it was encoded to
		r.Data = aead.Seal(nil, nil, e.Data, append(place, boundData...))
	}
	return r, nil
}

func (s *Store) open(ctx context.Context, records []Record) ([]events.Event, error) {
	evs := make([]events.Event, len(records))
	for i, r := range records {
		e, err := s.openOne(ctx, r)
		if err != nil {
			return evs[:i], &EventError{r.Type, r.Position, err}
		}
		evs[i] = e
	}
	return evs, nil
}

// shredded is what is left of an event whose stream's key was destroyed.
func shredded(e events.Event) events.Event {
	return events.Event{
		ID: e.ID, Stream: e.Stream, Version: e.Version, Position: e.Position,
		Type: e.Type, Time: e.Time, Shredded: true,
	}
}

func (s *Store) openOne(ctx context.Context, r Record) (events.Event, error) {
	e := events.Event{
		ID: r.ID, Stream: r.Stream, Version: r.Version, Position: r.Position,
		Type: r.Type, Time: r.Time,
	}
	meta, data, err := s.unseal(ctx, r)
	if errors.Is(err, ErrDestroyed) {
		return shredded(e), nil
	}
	if err != nil {
		return events.Event{}, err
	}
	e.Data = data
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
	place := binding(&r)
	meta, errMeta := aead.Open(nil, nil, r.Metadata, append(place, boundMetadata...))
	data, errData := aead.Open(nil, nil, r.Data, append(place, boundData...))
	if errMeta != nil || errData != nil {
		return nil, nil, ErrSealBroken
	}
	return meta, data, nil
}

// The members of a record that are sealed.
const (
	boundMetadata = "metadata"
	boundData     = "data"
)

// binding begins what ties a ciphertext to its place, so that what is stored cannot
// be exchanged for one another; the member's name is appended, one after the other in
// the same room. It is put together by hand because it is done for every event that
// is read, and fmt would take as long as the decryption.
func binding(r *Record) []byte {
	b := make([]byte, 0, 160)
	b = append(append(b, r.Stream...), '|')
	b = append(strconv.AppendUint(b, r.Version, 10), '|')
	b = append(append(b, r.ID.String()...), '|')
	b = append(append(b, r.Type...), '|')
	return append(strconv.AppendInt(b, r.Time.UnixMilli(), 10), '|')
}
