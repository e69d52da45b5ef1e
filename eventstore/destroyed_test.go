package eventstore_test

import (
	"errors"
	"slices"
	"testing"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/memory"
)

func TestEventsOfADestroyedKeyAreShredded(t *testing.T) {
	keys := newKeys(t)
	s := eventstore.NewStore(memory.New(), keys)
	a, b := newStream(), newStream()
	sealed := write(t, s, a, 0, opening("anna@example.se"), events.ProfileUpdated{FirstName: events.Set("Anna")})
	write(t, s, b, 0, opening("bo@example.se"))
	end := write(t, s, a, 2, events.AccountErased{})
	if err := keys.Destroy(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	for name, read := range map[string]func() ([]events.Event, error){
		"stream": func() ([]events.Event, error) { return s.ReadStream(t.Context(), a, 0, 10) },
		"log": func() ([]events.Event, error) {
			all, err := s.ReadAll(t.Context(), 0, 10)
			return slices.DeleteFunc(all, func(e events.Event) bool { return e.Stream != a }), err
		},
	} {
		got, err := read()
		if err != nil || len(got) != 3 {
			t.Fatalf("%s: %d events, %v", name, len(got), err)
		}
		for i, e := range got[:2] {
			want := sealed[i]
			if !e.Shredded || e.Data != nil || e.Metadata != (events.Metadata{}) ||
				e.ID != want.ID || e.Type != want.Type || e.Version != want.Version || e.Position != want.Position || e.Time != want.Time {
				t.Errorf("%s: %+v", name, e)
			}
		}
		if e := got[2]; e.Shredded || e.Metadata != end[0].Metadata || string(e.Data) != string(end[0].Data) {
			t.Errorf("%s: the end, which is in clear, is %+v", name, e)
		}
	}
	if other, err := s.ReadStream(t.Context(), b, 0, 10); err != nil || other[0].Shredded {
		t.Errorf("another stream: %+v, %v", other, err)
	}
}

func TestNothingIsSealedForADestroyedStream(t *testing.T) {
	keys := newKeys(t)
	s := eventstore.NewStore(memory.New(), keys)
	used, unused := newStream(), newStream()
	write(t, s, used, 0, opening("anna@example.se"))
	if err := keys.Destroy(t.Context(), used, unused); err != nil {
		t.Fatal(err)
	}
	for stream, version := range map[events.Stream]uint64{used: 1, unused: 0} {
		evs := newEvents(t, stream, version, opening("anna@example.se"))
		if _, err := s.Append(t.Context(), stream, version, nil, evs); !errors.Is(err, eventstore.ErrDestroyed) || errors.Is(err, eventstore.ErrNoKey) {
			t.Errorf("an event at version %d: %v", version, err)
		}
		if _, err := s.Append(t.Context(), stream, version, nil, nil, receipt("r", "x")); !errors.Is(err, eventstore.ErrDestroyed) {
			t.Errorf("a receipt at version %d: %v", version, err)
		}
	}
	write(t, s, used, 1, events.AccountErased{}) // a stream can end without its key
}

func TestTheEndOfAStreamDeletesItsReceipts(t *testing.T) {
	s := eventstore.NewStore(memory.New(), newKeys(t))
	stream := newStream()
	if _, err := s.Append(t.Context(), stream, 0, nil, newEvents(t, stream, 0, opening("anna@example.se")), receipt("one", "first")); err != nil {
		t.Fatal(err)
	}
	evs := newEvents(t, stream, 1, events.ProfileUpdated{FirstName: events.Set("Anna")}, events.AccountErased{})
	if _, err := s.Append(t.Context(), stream, 1, nil, evs, receipt("two", "second")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one", "two"} {
		if of, _, err := s.Receipt(t.Context(), name); of != "" || err != nil {
			t.Errorf("receipt %s is of %q, %v", name, of, err)
		}
	}
}

func TestReceiptOfADestroyedStreamIsReported(t *testing.T) {
	keys := newKeys(t)
	s := eventstore.NewStore(memory.New(), keys)
	stream := newStream()
	if _, err := s.Append(t.Context(), stream, 0, nil, newEvents(t, stream, 0, opening("anna@example.se")), receipt("one", "first")); err != nil {
		t.Fatal(err)
	}
	if err := keys.Destroy(t.Context(), stream); err != nil {
		t.Fatal(err)
	}
	if _, data, err := s.Receipt(t.Context(), "one"); !errors.Is(err, eventstore.ErrDestroyed) || data != nil {
		t.Errorf("%q, %v", data, err)
	}
}

func TestClaimsAreListedAndReleasedByTheirHashes(t *testing.T) {
	s := eventstore.NewStore(memory.New(), newKeys(t))
	stream := newStream()
	claim := events.EmailClaim("Anna@example.se")
	evs := newEvents(t, stream, 0, opening("Anna@example.se"))
	if _, err := s.Append(t.Context(), stream, 0, []eventstore.ClaimChange{{Claim: claim}}, evs); err != nil {
		t.Fatal(err)
	}
	held, err := s.Claims(t.Context(), eventstore.HeldClaim{}, 10)
	if want := []eventstore.HeldClaim{{Key: s.ClaimKey(claim), Stream: stream}}; err != nil || !slices.Equal(held, want) {
		t.Fatalf("%v, %v", held, err)
	}
	if err := s.Release(t.Context(), stream, 0, held[0].Key); !errors.Is(err, eventstore.ErrConflict) {
		t.Errorf("at another version: %v", err)
	}
	if err := s.Release(t.Context(), newStream(), 0, held[0].Key); err != nil {
		t.Errorf("by another stream: %v", err)
	}
	if holder, err := s.Holder(t.Context(), claim); holder != stream || err != nil {
		t.Errorf("held by %q, %v", holder, err)
	}
	if err := s.Release(t.Context(), stream, 1, held[0].Key); err != nil {
		t.Fatal(err)
	}
	if holder, err := s.Holder(t.Context(), claim); holder != "" || err != nil {
		t.Errorf("held by %q, %v", holder, err)
	}
}
