package eventstore_test

import (
	"context"
	"errors"
	"testing"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/memory"
)

// spy keeps the keys under which claims reach the log.
type spy struct {
	eventstore.Log
	taken []eventstore.ClaimKey
}

func (l *spy) Append(ctx context.Context, b eventstore.Batch) (uint64, error) {
	for _, op := range b.Claims {
		l.taken = append(l.taken, op.Key)
	}
	return l.Log.Append(ctx, b)
}

func TestClaimsReachTheLogAsKeyedHashes(t *testing.T) {
	log := &spy{Log: memory.New()}
	for range 2 { // two keyrings
		s := eventstore.NewStore(log, newKeys(t))
		claims := []eventstore.ClaimChange{
			{Claim: events.Claim{Kind: events.ClaimEmail, Value: "198505073412"}},
			{Claim: events.Claim{Kind: events.ClaimSocialSecurityNumber, Value: "198505073412"}},
			{Claim: events.Claim{Kind: events.ClaimEmail, Value: "198505073413"}},
			{Claim: events.Claim{Kind: events.ClaimEmail, Value: "198505073412"}}, // once more
		}
		if _, err := s.Append(t.Context(), newStream(), 0, claims, nil); err != nil {
			t.Fatal(err)
		}
	}
	different := map[eventstore.ClaimKey]bool{}
	for _, key := range log.taken {
		different[key] = true
	}
	if len(log.taken) != 8 || len(different) != 6 || log.taken[0] != log.taken[3] {
		t.Errorf("%d claims gave %d keys, repeated: %v", len(log.taken), len(different), log.taken[0] == log.taken[3])
	}
}

func TestTakenClaimIsToldByItsKind(t *testing.T) {
	s := eventstore.NewStore(memory.New(), newKeys(t))
	holder, other := newStream(), newStream()
	email := events.EmailClaim("asa@example.se")
	number := events.SocialSecurityNumberClaim("198505073412")
	change := func(claims ...events.Claim) (changes []eventstore.ClaimChange) {
		for _, c := range claims {
			changes = append(changes, eventstore.ClaimChange{Claim: c})
		}
		return changes
	}
	if _, err := s.Append(t.Context(), holder, 0, change(number), newEvents(t, holder, 0, opening("x@example.se"))); err != nil {
		t.Fatal(err)
	}

	evs := newEvents(t, other, 0, opening("y@example.se"))
	_, err := s.Append(t.Context(), other, 0, change(email, number), evs)
	var taken *eventstore.Taken
	if !errors.Is(err, eventstore.ErrTaken) || !errors.As(err, &taken) {
		t.Fatalf("%v", err)
	}
	if taken.Kind != events.ClaimSocialSecurityNumber || taken.Holder != holder {
		t.Errorf("%+v", taken)
	}
	if head, err := s.StreamHead(t.Context(), other); head.Version != 0 || err != nil {
		t.Errorf("stored in spite of it: %+v, %v", head, err)
	}
	for claim, want := range map[events.Claim]events.Stream{number: holder, email: ""} {
		if got, err := s.Holder(t.Context(), claim); got != want || err != nil {
			t.Errorf("%s is held by %q, %v", claim.Kind, got, err)
		}
	}

	release := []eventstore.ClaimChange{{Claim: number, Release: true}}
	if _, err := s.Append(t.Context(), holder, 1, release, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(t.Context(), other, 0, change(email, number), evs); err != nil {
		t.Errorf("after its release: %v", err)
	}
}
