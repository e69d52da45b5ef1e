package eventstore_test

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/memory"
)

// spy records the keys of the claims that reach the log.
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

func TestTakenClaimIsReportedByKind(t *testing.T) {
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

// without is a keyring without the key of one stream.
type without struct {
	eventstore.Keys
	stream events.Stream
}

func (k without) Cipher(ctx context.Context, stream events.Stream) (cipher.AEAD, error) {
	if stream == k.stream {
		return nil, eventstore.ErrNoKey
	}
	return k.Keys.Cipher(ctx, stream)
}

func TestClaimsAreRenewedFromTheEvents(t *testing.T) {
	keys, log := newKeys(t), memory.New()
	s := eventstore.NewStore(log, keys)
	opened := func(email string) events.Stream {
		stream := newStream()
		write(t, s, stream, 0, opening("before."+email))
		write(t, s, stream, 1, events.EmailChanged{NewEmail: email})
		return stream
	}
	plain := opened("anna@example.com")
	pair := []events.Stream{opened("jos\u00e9@example.com"), opened("jose\u0301@example.com")}
	slices.Sort(pair)
	erased := opened("gone@example.com")
	write(t, s, erased, 2, events.AccountErased{})
	destroyed := opened("destroyed@example.com")
	if err := keys.Destroy(t.Context(), destroyed); err != nil {
		t.Fatal(err)
	}
	unread, kept := opened("unread@example.com"), events.Claim{Kind: events.ClaimEmail, Value: "kept"}
	if _, err := s.Append(t.Context(), unread, 2, []eventstore.ClaimChange{{Claim: kept}}, nil); err != nil {
		t.Fatal(err)
	}
	wrong := events.EmailClaim("before.anna@example.com")
	if _, err := s.Append(t.Context(), plain, 2, []eventstore.ClaimChange{{Claim: wrong}}, nil); err != nil {
		t.Fatal(err)
	}
	party := events.ThirdPartyStream(ulid.Make())
	write(t, s, party, 0, events.ThirdPartyAdded{Name: "crm", URL: "https://crm.example.com"})

	var reported []uint64
	s = eventstore.NewStore(log, without{keys, unread})
	if err := s.RenewClaims(t.Context(), func(done, total uint64) { reported = append(reported, done, total) }); err != nil {
		t.Fatal(err)
	}
	for claim, want := range map[events.Claim][]events.Stream{
		events.EmailClaim("Anna@example.com"):        {plain},
		events.EmailClaim("JOS\u00c9@example.com"):   pair,
		events.EmailClaim("gone@example.com"):        nil,
		events.EmailClaim("destroyed@example.com"):   nil,
		events.EmailClaim("unread@example.com"):      nil,
		events.EmailClaim("before.anna@example.com"): nil,
		events.ThirdPartyNameClaim("crm"):            {party},
		kept:                                         {unread},
	} {
		if got, err := s.Holders(t.Context(), claim); err != nil || !slices.Equal(got, want) {
			t.Errorf("%+q is held by %v, %v; want %v", claim.Value, got, err, want)
		}
	}
	if shared, err := s.SharedClaims(t.Context()); err != nil || !reflect.DeepEqual(shared, [][]events.Stream{pair}) {
		t.Errorf("shared: %v, %v", shared, err)
	}
	if rule, err := s.ClaimRule(t.Context()); err != nil || rule != (eventstore.ClaimRule{Number: events.ClaimRule, Shared: true}) {
		t.Errorf("rule: %+v, %v", rule, err)
	}
	if head, err := s.Head(t.Context()); err != nil || !slices.Equal(reported, []uint64{head, head}) {
		t.Errorf("reported %v of %d, %v", reported, head, err)
	}
}

func TestRenewalOfClaimsFailsIfTheLogFails(t *testing.T) {
	keys, log := newKeys(t), memory.New()
	s := eventstore.NewStore(log, keys)
	stream := newStream()
	claim := events.EmailClaim("anna@example.com")
	if _, err := s.Append(t.Context(), stream, 0, []eventstore.ClaimChange{{Claim: claim}}, newEvents(t, stream, 0, opening("anna@example.com"))); err != nil {
		t.Fatal(err)
	}
	failing := errors.New("input/output error")
	s = eventstore.NewStore(unreadable{log, failing}, keys)
	if err := s.RenewClaims(t.Context(), nil); !errors.Is(err, failing) {
		t.Errorf("%v", err)
	}
	if holder, err := s.Holder(t.Context(), claim); holder != stream || err != nil {
		t.Errorf("held by %q, %v", holder, err)
	}
}

func TestRenewalOfClaimsFailsIfTheKeyringFails(t *testing.T) {
	keys, log := newKeys(t), memory.New()
	s := eventstore.NewStore(log, keys)
	stream := newStream()
	kept := events.Claim{Kind: events.ClaimEmail, Value: "by an older rule"}
	if _, err := s.Append(t.Context(), stream, 0, []eventstore.ClaimChange{{Claim: kept}}, newEvents(t, stream, 0, opening("anna@example.com"))); err != nil {
		t.Fatal(err)
	}
	// With another number of the rule, the next start would try again.
	if err := log.ReplaceClaims(t.Context(), 1, func(yield func(eventstore.HeldClaim, error) bool) {
		yield(eventstore.HeldClaim{Key: s.ClaimKey(kept), Stream: stream}, nil)
	}); err != nil {
		t.Fatal(err)
	}
	failing := errors.New("input/output error")
	s = eventstore.NewStore(log, locked{keys, failing})
	if err := s.RenewClaims(t.Context(), nil); !errors.Is(err, failing) {
		t.Errorf("%v", err)
	}
	if rule, err := s.ClaimRule(t.Context()); rule.Number != 1 || err != nil {
		t.Errorf("rule: %+v, %v", rule, err)
	}
	if holder, err := s.Holder(t.Context(), kept); holder != stream || err != nil {
		t.Errorf("held by %q, %v", holder, err)
	}
}

func TestStreamWithADamagedKeyKeepsItsClaims(t *testing.T) {
	keys, log := newKeys(t), memory.New()
	s := eventstore.NewStore(log, keys)
	stream := newStream()
	claim := events.EmailClaim("anna@example.com")
	if _, err := s.Append(t.Context(), stream, 0, []eventstore.ClaimChange{{Claim: claim}}, newEvents(t, stream, 0, opening("anna@example.com"))); err != nil {
		t.Fatal(err)
	}
	s = eventstore.NewStore(log, locked{keys, fmt.Errorf("keys.db: %w", eventstore.ErrDamagedKey)})
	if err := s.RenewClaims(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if holder, err := s.Holder(t.Context(), claim); holder != stream || err != nil {
		t.Errorf("held by %q, %v", holder, err)
	}
}

// locked is a keyring that returns no cipher.
type locked struct {
	eventstore.Keys
	err error
}

func (k locked) Cipher(context.Context, events.Stream) (cipher.AEAD, error) { return nil, k.err }

// unreadable is a log whose streams cannot be read.
type unreadable struct {
	eventstore.Log
	err error
}

func (l unreadable) ReadStream(context.Context, events.Stream, uint64, int) ([]eventstore.Record, error) {
	return nil, l.err
}

// lagging is a log whose feed has the records of other nodes only after a wait.
type lagging struct {
	eventstore.Log
	seen uint64
}

func (l *lagging) Wait(ctx context.Context, after uint64) error {
	l.seen = after + 1
	return l.Log.Wait(ctx, after)
}

func (l *lagging) ReadAll(ctx context.Context, after uint64, limit int) ([]eventstore.Record, error) {
	if after >= l.seen {
		return nil, nil
	}
	return l.Log.ReadAll(ctx, after, min(limit, int(l.seen-after)))
}

func TestClaimsAreRenewedFromEventsOfOtherNodesToo(t *testing.T) {
	log, keys := memory.New(), newKeys(t)
	stream := newStream()
	other := eventstore.NewStore(log, keys)
	if _, err := other.Append(t.Context(), stream, 0, nil, newEvents(t, stream, 0, opening("asa@example.se"))); err != nil {
		t.Fatal(err)
	}
	s := eventstore.NewStore(&lagging{Log: log}, keys)
	if err := s.RenewClaims(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if holder, err := s.Holder(t.Context(), events.EmailClaim("asa@example.se")); err != nil || holder != stream {
		t.Errorf("%q holds the claim, %v", holder, err)
	}
}
