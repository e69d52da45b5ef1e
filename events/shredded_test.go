package events_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

// began and later are times of a stream's first event and of one after it.
var (
	began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	later = began.Add(time.Hour)
)

func shredded(stream events.Stream, version uint64, at time.Time) events.Event {
	return events.Event{
		ID: ulid.Make(), Stream: stream, Version: version, Position: version + 10, Time: at,
		Type: events.TypeProfileUpdated, Shredded: true,
	}
}

func TestShreddedEventHasThePayloadShredded(t *testing.T) {
	e := shredded(events.AccountStream(ulid.Make()), 1, began)
	for _, name := range []string{events.TypeAccountOpened, "AccountMerged.v9"} {
		e.Type = name
		if p, err := e.Payload(); err != nil || p != (events.Shredded{}) {
			t.Errorf("%s: %#v, %v", name, p, err)
		}
	}
	if _, _, err := events.Encode(events.Shredded{}); err == nil {
		t.Error("what stands for lost bytes can be stored")
	}
}

func TestShreddedEventIsNotPublished(t *testing.T) {
	e := shredded(events.AccountStream(ulid.Make()), 1, began)
	for _, name := range []string{events.TypeAccountOpened, events.TypeEmailChangeRequested, events.TypePasswordChanged} {
		e.Type = name
		if m, ok, err := events.Publish(e); ok || err != nil {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
}

// A fold over a whole stream that nobody can read and one that went on from a
// readable state end alike.
func TestAccountFoldOverShreddedEventsIsErased(t *testing.T) {
	id := ulid.Make()
	stream := events.AccountStream(id)
	var cold events.Account
	for version, at := range []time.Time{began, later} {
		e := shredded(stream, uint64(version)+1, at)
		cold.Apply(e, events.Shredded{})
	}
	want := events.Account{ID: id, Erased: true, Shredded: true, Opened: began, Updated: later, Version: 2, Position: 12}
	if !reflect.DeepEqual(cold, want) {
		t.Errorf("cold: %+v\nwant  %+v", cold, want)
	}
	warm := events.Account{ID: id, Email: "anna@example.com", PaywayID: "5f", Opened: began, Version: 1, Position: 11}
	warm.Apply(shredded(stream, 2, later), events.Shredded{})
	if !reflect.DeepEqual(warm, want) {
		t.Errorf("warm: %+v\nwant  %+v", warm, want)
	}
	if len(warm.Claims()) > 0 || warm.Exists() {
		t.Errorf("it holds %v, exists %t", warm.Claims(), warm.Exists())
	}
	end := events.Event{Stream: stream, Version: 3, Position: 13, Time: later, Type: events.TypeAccountErased}
	warm.Apply(end, events.AccountErased{})
	want.Shredded, want.Version, want.Position = false, 3, 13
	if !reflect.DeepEqual(warm, want) {
		t.Errorf("after its end: %+v\nwant  %+v", warm, want)
	}
}

func TestCredentialFoldOverShreddedEventsIsUnusable(t *testing.T) {
	id := ulid.Make()
	stream := events.CredentialStream(id)
	var cold events.Credential
	cold.Apply(shredded(stream, 1, began), events.Shredded{})
	want := events.Credential{ID: id, Issued: began, Revoked: began, Version: 1}
	if !reflect.DeepEqual(cold, want) || cold.Usable(began) || cold.Usable(later) {
		t.Errorf("%+v\nwant %+v", cold, want)
	}
	warm := events.Credential{ID: id, Kind: events.KindSession, Admin: "root", SecretHash: []byte("hash"), Issued: began, Version: 1}
	if left := warm.Remains(); !reflect.DeepEqual(left, want) {
		t.Errorf("remains %+v\nwant    %+v", left, want)
	}
	cold.Apply(events.Event{Stream: stream, Version: 2, Time: later}, events.CredentialRevoked{})
	want.Revoked, want.Version = later, 2
	if !reflect.DeepEqual(cold, want) {
		t.Errorf("revoked: %+v\nwant     %+v", cold, want)
	}
}

func TestThirdPartyFoldOverShreddedEventsIsRemoved(t *testing.T) {
	id := ulid.Make()
	p := events.ThirdParty{ID: id, Name: "crm", URL: "https://example.com", State: events.ThirdPartyActive, Version: 1, Position: 11}
	p.Apply(shredded(events.ThirdPartyStream(id), 2, later), events.Shredded{})
	want := events.ThirdParty{ID: id, State: events.ThirdPartyGone, Version: 2, Position: 12}
	if !reflect.DeepEqual(p, want) || p.Exists() {
		t.Errorf("%+v\nwant %+v", p, want)
	}
}
