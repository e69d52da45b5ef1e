package commands

import (
	"errors"
	"reflect"
	"testing"

	"konto/events"
)

func TestFactsReduceToNewOnes(t *testing.T) {
	state := anna()
	state.Facts = events.Facts{ActiveDomains: 2, SeNuDomains: 1, PendingOrder: "o-1", Verified: true, BankIDName: "Anna"}
	tests := []struct {
		name  string
		facts events.FactsRecorded
		want  []events.Payload
	}{
		{"none", events.FactsRecorded{}, nil},
		{"all known", events.FactsRecorded{ActiveDomains: new(2), SeNuDomains: new(1), Verified: new(true),
			PendingOrder: events.Set(" o-1 "), BankIDName: events.Set("Anna")}, nil},
		{"a count", events.FactsRecorded{ActiveDomains: new(0), SeNuDomains: new(1)},
			[]events.Payload{events.FactsRecorded{ActiveDomains: new(0)}}},
		{"all of them", events.FactsRecorded{ActiveDomains: new(3), SeNuDomains: new(2), Verified: new(false),
			PendingOrder: events.Clear[string](), BankIDName: events.Set("Eva")},
			[]events.Payload{events.FactsRecorded{ActiveDomains: new(3), SeNuDomains: new(2), Verified: new(false),
				PendingOrder: events.Clear[string](), BankIDName: events.Set("Eva")}}},
	}
	for _, tt := range tests {
		d, err := decide(state, RecordFacts{tt.facts})
		if err != nil || !reflect.DeepEqual(d.payloads, tt.want) {
			t.Errorf("%s: got %+v, %v; want %+v", tt.name, d.payloads, err, tt.want)
		}
	}
}

func TestWrongFactsAreRefused(t *testing.T) {
	wrong := RecordFacts{events.FactsRecorded{ActiveDomains: new(-1), SeNuDomains: new(-2), PendingOrder: events.Set("\n"), BankIDName: events.Set("a\x00")}}
	_, err := decide(events.Account{}, wrong)
	var invalid *Invalid
	if !errors.As(err, &invalid) || len(invalid.Fields) != 4 {
		t.Errorf("got %v", err)
	}
	if _, err := decide(events.Account{}, RecordFacts{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestKnownFactsAreNotChecked(t *testing.T) {
	state := anna()
	state.Facts = events.Facts{PendingOrder: "\u200b", BankIDName: "\u3164"}
	known := events.FactsRecorded{PendingOrder: events.Set("\u200b"), BankIDName: events.Set("\u3164")}
	if d, err := decide(state, RecordFacts{Facts: known}); err != nil || len(d.payloads) > 0 {
		t.Errorf("%+v, %v", d, err)
	}
}
