package events_test

import (
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

// The log keeps milliseconds: an event must not change by being stored.
func TestEventTimesAreInUTCAndMilliseconds(t *testing.T) {
	at := time.Date(2026, 3, 1, 13, 0, 0, 250_999_999, time.FixedZone("CET", 3600))
	e, err := events.New(events.AccountStream(accountID), 1, ulid.Make(), at, events.Metadata{}, events.AccountErased{})
	if want := time.Date(2026, 3, 1, 12, 0, 0, 250_000_000, time.UTC); err != nil || e.Time != want {
		t.Errorf("%v, %v", e.Time, err)
	}
}

func TestNewEventHasNoPositionYet(t *testing.T) {
	e, err := events.New(events.AccountStream(accountID), 42, ulid.Make(), opened, events.Metadata{}, events.AccountErased{})
	if err != nil || e.Version != 42 || e.Position != 0 {
		t.Errorf("version %d, position %d, %v", e.Version, e.Position, err)
	}
}
