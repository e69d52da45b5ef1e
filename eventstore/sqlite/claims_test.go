package sqlite

import (
	"context"
	"errors"
	"testing"

	"konto/events"
	"konto/eventstore"
)

// ofFormat1 makes a closed log of format 1, in which two streams hold a key each.
func ofFormat1(t *testing.T) (path string, held []eventstore.HeldClaim) {
	t.Helper()
	path = filled(t, 3)
	log := open(t, path)
	for range 2 {
		b := newBatch(1, eventstore.ClaimOp{Key: newKey()})
		mustAppend(t, log, b)
		held = append(held, eventstore.HeldClaim{Key: b.Claims[0].Key, Stream: b.Stream})
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if err := raw(t, path, "CREATE TABLE kept AS SELECT id, key, stream FROM meta, claims; DROP TABLE meta; DROP TABLE claims;"+meta1+claims1+
		"INSERT INTO meta SELECT DISTINCT 1, id FROM kept; INSERT INTO claims SELECT key, stream FROM kept; DROP TABLE kept"); err != nil {
		t.Fatal(err)
	}
	return path, held
}

func TestLogOfFormat1WorksUntilItsClaimsAreReplaced(t *testing.T) {
	path, held := ofFormat1(t)
	was, err := Inspect(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	log := open(t, path)
	if rule, err := log.ClaimRule(t.Context()); err != nil || rule != (eventstore.ClaimRule{Number: 1}) {
		t.Errorf("rule %+v, %v", rule, err)
	}
	third := newBatch(1, eventstore.ClaimOp{Key: held[0].Key})
	if _, err := log.Append(t.Context(), third); !errors.Is(err, eventstore.ErrTaken) {
		t.Errorf("a key of format 1 is taken by another: %v", err)
	}

	// If it is interrupted, the file does not change.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err = log.ReplaceClaims(ctx, 2, func(yield func(eventstore.HeldClaim, error) bool) {
		if yield(held[1], nil) {
			cancel()
			yield(held[0], nil)
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	if err := log.CheckStorage(t.Context()); err != nil {
		t.Error(err)
	}
	if rule, err := log.ClaimRule(t.Context()); err != nil || rule.Number != 1 {
		t.Errorf("rule %+v, %v", rule, err)
	}
	if holder, err := log.Holder(t.Context(), held[0].Key); err != nil || holder != held[0].Stream {
		t.Errorf("held by %q, %v", holder, err)
	}

	err = log.ReplaceClaims(t.Context(), events.ClaimRule, func(yield func(eventstore.HeldClaim, error) bool) {
		for _, c := range held {
			if !yield(eventstore.HeldClaim{Key: held[0].Key, Stream: c.Stream}, nil) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Append(t.Context(), third); !errors.Is(err, eventstore.ErrTaken) {
		t.Errorf("a shared key is taken by another: %v", err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if is, err := Inspect(t.Context(), path, nil); err != nil || string(is.ID) != string(was.ID) || is.Chain != was.Chain {
		t.Errorf("it is %v, %v; it was %v", is, err, was)
	}
	log = open(t, path)
	if rule, err := log.ClaimRule(t.Context()); err != nil || rule != (eventstore.ClaimRule{Number: events.ClaimRule, Shared: true}) {
		t.Errorf("rule %+v, %v", rule, err)
	}
}

func newKey() (key eventstore.ClaimKey) {
	id := newBatch(1).Records[0].ID
	copy(key[:], id[:])
	return key
}
