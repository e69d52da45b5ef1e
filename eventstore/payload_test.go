package eventstore

import (
	"fmt"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

// What is bound is a stored format: other bytes would make every event unreadable.
func TestWhatACiphertextIsBoundTo(t *testing.T) {
	for _, at := range []time.Time{time.UnixMilli(1_700_000_000_123).UTC(), time.UnixMilli(-5).UTC()} {
		r := Record{Stream: events.AccountStream(ulid.Make()), Version: 42, ID: ulid.Make(), Type: events.TypeEmailChanged, Time: at}
		want := fmt.Sprintf("%s|%d|%s|%s|%d|%s", r.Stream, r.Version, r.ID, r.Type, r.Time.UnixMilli(), "data")
		if got := string(binding(r, "data")); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
