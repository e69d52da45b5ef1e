package eventstore

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"konto/events"
	"konto/events/tracing"
)

// Store is the log as the other packages use it.
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

// NewStore stores events in log, encrypted with keys. It closes neither of them.
func NewStore(log Log, keys Keys) *Store {
	return &Store{log: log, keys: keys, claimKey: keys.Derive("claims"), receiptKey: keys.Derive("receipts")}
}

// Append stores events, whose versions follow expected, together with claims and receipts. It
// returns the position of the last event. Its errors are those of Appender, with *Taken in
// place of *ClaimTaken, and ErrDestroyed if something must be encrypted for a stream whose
// key was destroyed.
//
// Events that end the stream delete its receipts, and no new receipts are stored with them.
// The Data of the events is cached for ReadNext and must not be changed afterwards.
func (s *Store) Append(ctx context.Context, stream events.Stream, expected uint64, claims []ClaimChange, evs []events.Event, receipts ...NamedReceipt) (uint64, error) {
	batch := Batch{Stream: stream, Expected: expected, DropReceipts: slices.ContainsFunc(evs, endsStream)}
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
	s.recent.add(evs, batch.Records) // before the append, so that a follower that is woken finds them
	began := time.Now()
	last, err := s.log.Append(ctx, batch)
	if err != nil {
		s.recent.drop(batch.Records)
	}
	trace(evs, began, err)
	s.evictDestroyed(ctx, stream)
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

// trace exports a span for each request whose events were appended together.
func trace(evs []events.Event, began time.Time, err error) {
	if !tracing.On() {
		return
	}
	problem := ""
	if err != nil {
		problem = "not appended" // the error's text may name a claim
	}
	last := ""
	for _, e := range evs {
		if e.Metadata.Trace != last {
			tracing.Did("append", e.Metadata.Trace, e.Metadata.TraceState, began, problem, "konto.event.type", e.Type)
		}
		last = e.Metadata.Trace
	}
}

// endsStream reports whether an event ends its stream. Exactly these events are not encrypted.
func endsStream(e events.Event) bool { return !events.Sealed(e.Type) }

// Release releases keys that a stream holds at its expected version. It is for streams whose
// claims are unknown because their key was destroyed. Its errors are those of Appender.
func (s *Store) Release(ctx context.Context, stream events.Stream, expected uint64, keys ...ClaimKey) error {
	batch := Batch{Stream: stream, Expected: expected}
	for _, key := range keys {
		batch.Claims = append(batch.Claims, ClaimOp{Key: key, Release: true})
	}
	_, err := s.log.Append(ctx, batch)
	return err
}

// TryAppend returns nil if the log in a file takes appends: what it stores is durable, is deleted
// in the same transaction, and has no effect. Its errors are those of Appender.
func (s *Store) TryAppend(ctx context.Context) error {
	const stream = "try" // of no record
	expired := Receipt{Key: s.receipt(stream), Data: []byte{}, Expires: time.UnixMilli(0).UTC()}
	_, err := s.log.Append(ctx, Batch{Stream: stream, Receipts: []Receipt{expired}})
	return err
}

// ReadStream returns up to limit events of the stream after a version. If an event cannot be
// read, those before it are returned with the error. An event whose key was destroyed is
// returned as a shredded event.
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

// Holder returns the stream that holds a claim, or ""; see Reader.
func (s *Store) Holder(ctx context.Context, c events.Claim) (events.Stream, error) {
	return s.log.Holder(ctx, s.ClaimKey(c))
}

// Claims returns claims in order; see Reader.
func (s *Store) Claims(ctx context.Context, after HeldClaim, limit int) ([]HeldClaim, error) {
	return s.log.Claims(ctx, after, limit)
}

// StreamHead returns the end of a stream; see Reader.
func (s *Store) StreamHead(ctx context.Context, stream events.Stream) (StreamHead, error) {
	return s.log.StreamHead(ctx, stream)
}

// Head returns the log's last position; see Feed.
func (s *Store) Head(ctx context.Context) (uint64, error) { return s.log.Head(ctx) }

// Wait returns when an event follows a position; see Feed.
func (s *Store) Wait(ctx context.Context, after uint64) error { return s.log.Wait(ctx, after) }

// Derive returns a 256-bit secret of the keyring for a purpose. It is always the same.
func (s *Store) Derive(purpose string) []byte { return s.keys.Derive(purpose) }

// ClaimKey hashes a claim, so that the log can compare claims and read none.
func (s *Store) ClaimKey(c events.Claim) (key ClaimKey) {
	mac := hmac.New(sha256.New, s.claimKey)
	mac.Write([]byte(c.Kind))
	mac.Write([]byte{0}) // separates kind and value; no kind contains it
	mac.Write([]byte(c.Value))
	mac.Sum(key[:0])
	return key
}
