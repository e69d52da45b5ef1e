package eventstore_test

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/memory"
)

func TestFoldContinuesFromAStateUpToAVersion(t *testing.T) {
	s := eventstore.NewStore(memory.New(), newKeys(t))
	stream := newStream()
	const length = 1207 // more than two pages
	payloads := []events.Payload{opening("anna@example.com")}
	for v := 2; v <= length; v++ {
		payloads = append(payloads, events.ProfileUpdated{FirstName: events.Set(fmt.Sprint(v))})
	}
	write(t, s, stream, 0, payloads...)
	var a events.Account
	for _, test := range []struct{ upTo, want uint64 }{{0, 0}, {1, 1}, {700, 700}, {700, 700}, {math.MaxUint64, length}, {math.MaxUint64, length}} {
		if err := s.Fold(t.Context(), stream, test.upTo, &a.Version, a.Apply); err != nil || a.Version != test.want {
			t.Fatalf("folded up to %d: version %d, %v", test.upTo, a.Version, err)
		}
		if test.want > 1 && a.Profile.FirstName != fmt.Sprint(test.want) {
			t.Errorf("version %d has the name %s", test.want, a.Profile.FirstName)
		}
	}
}

func TestFoldRefusesEventsThatDoNotBelongInTheStream(t *testing.T) {
	s := eventstore.NewStore(memory.New(), newKeys(t))
	stream := newStream()
	write(t, s, stream, 0, opening("anna@example.com"), events.ThirdPartyPaused{})
	var a events.Account
	err := s.Fold(t.Context(), stream, math.MaxUint64, &a.Version, a.Apply)
	if !errors.Is(err, eventstore.ErrMisplaced) || a.Version != 1 {
		t.Errorf("folded to version %d, %v", a.Version, err)
	}
}

func TestIterationsCanBeStopped(t *testing.T) {
	log := memory.New()
	s := eventstore.NewStore(log, newKeys(t))
	stream := newStream()
	write(t, s, stream, 0, opening("a@example.com"), opening("b@example.com"), opening("c@example.com"))
	var seen []uint64
	for e, err := range s.Events(t.Context(), stream, 1, math.MaxUint64) {
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, e.Version)
		break
	}
	for r, err := range eventstore.Records(t.Context(), log, stream, 0, 2) {
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, r.Version)
	}
	if fmt.Sprint(seen) != "[2 1 2]" {
		t.Errorf("versions %v", seen)
	}
}
