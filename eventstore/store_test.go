package eventstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/memory"
)

func newKeys(t testing.TB) *keyring.Keyring {
	t.Helper()
	keys, err := keyring.Open(t.Context(), filepath.Join(t.TempDir(), "keys.db"), bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keys.Close() })
	return keys
}

func newStream() events.Stream { return events.AccountStream(ulid.Make()) }

// write appends payloads to a stream whose version is expected.
func write(t *testing.T, s *eventstore.Store, stream events.Stream, expected uint64, payloads ...events.Payload) []events.Event {
	t.Helper()
	evs := newEvents(t, stream, expected, payloads...)
	last, err := s.Append(t.Context(), stream, expected, nil, evs)
	if err != nil {
		t.Fatal(err)
	}
	for i := range evs {
		evs[i].Position = last - uint64(len(evs)-1-i)
	}
	return evs
}

func newEvents(t *testing.T, stream events.Stream, expected uint64, payloads ...events.Payload) []events.Event {
	t.Helper()
	meta := events.Metadata{RequestID: "req_1", Actor: events.Actor{Kind: "session", ID: "s1"}, Contract: "hostup"}
	var evs []events.Event
	for i, p := range payloads {
		e, err := events.New(stream, expected+uint64(i)+1, ulid.Make(), time.Now(), meta, p)
		if err != nil {
			t.Fatal(err)
		}
		evs = append(evs, e)
	}
	return evs
}

func opening(email string) events.AccountOpened { return events.AccountOpened{Email: email} }

// tampering changes records that are read from a real log, as somebody who can write to its file
// could do.
type tampering struct {
	eventstore.Log
	tamper func([]eventstore.Record)
}

func (l tampering) ReadAll(ctx context.Context, after uint64, limit int) ([]eventstore.Record, error) {
	records, err := l.Log.ReadAll(ctx, after, limit)
	l.tamper(records)
	return records, err
}

func TestEventsAreReadAsTheyWereAppended(t *testing.T) {
	s := eventstore.NewStore(memory.New(), newKeys(t))
	a, b := newStream(), newStream()
	first := write(t, s, a, 0, opening("åsa@example.se"), events.ProfileUpdated{FirstName: events.Set("Åsa")})
	other := write(t, s, b, 0, opening("bo@example.se"))
	second := write(t, s, a, 2, events.AccountErased{})

	for name, test := range map[string]struct {
		read func() ([]events.Event, error)
		want []events.Event
	}{
		"a stream":           {func() ([]events.Event, error) { return s.ReadStream(t.Context(), a, 0, 10) }, append(first[:2:2], second...)},
		"a stream's rest":    {func() ([]events.Event, error) { return s.ReadStream(t.Context(), a, 2, 10) }, second},
		"a page of a stream": {func() ([]events.Event, error) { return s.ReadStream(t.Context(), a, 0, 1) }, first[:1]},
		"the log":            {func() ([]events.Event, error) { return s.ReadAll(t.Context(), 0, 10) }, append(append(first[:2:2], other...), second...)},
		"the log's rest":     {func() ([]events.Event, error) { return s.ReadAll(t.Context(), 2, 10) }, append(other[:1:1], second...)},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := test.read()
			if err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("got  %+v\nwant %+v\n%v", got, test.want, err)
			}
		})
	}
	head, err := s.StreamHead(t.Context(), a)
	if want := (eventstore.StreamHead{Version: 3, Position: 4}); head != want || err != nil {
		t.Errorf("%+v, %v", head, err)
	}
}

func TestLogSeesNoPersonalData(t *testing.T) {
	const canary = "Kanariefågel"
	log, keys := memory.New(), newKeys(t)
	s := eventstore.NewStore(log, keys)
	stream := newStream()
	claims := []eventstore.ClaimChange{{Claim: events.EmailClaim(canary)}}
	evs := newEvents(t, stream, 0,
		events.AccountOpened{Email: canary, PaywayID: canary, Profile: events.ProfileUpdated{FirstName: events.Set(canary)}},
		events.ProfileUpdated{SocialSecurityNumber: events.Set(canary), Address: events.AddressUpdated{City: events.Set(canary)}},
		events.EmailChanged{PreviousEmail: canary, NewEmail: canary},
		events.EmailChangeRequested{NewEmail: canary, CodeHash: []byte(canary)},
		events.EmailChangeCancelled{NewEmail: canary},
		events.PasswordChanged{Hash: canary},
		events.FactsRecorded{BankIDName: events.Set(canary)},
		events.SessionOpened{Label: canary, Admin: canary, SecretHash: []byte(canary)},
		events.KeyIssued{Client: canary, SecretHash: []byte(canary)},
	)
	for i := range evs {
		evs[i].Metadata.Impersonator = canary
	}
	if _, err := s.Append(t.Context(), stream, 0, claims, evs); err != nil {
		t.Fatal(err)
	}
	records, err := log.ReadAll(t.Context(), 0, 100)
	if err != nil || len(records) != len(evs) {
		t.Fatalf("%d records, %v", len(records), err)
	}
	for i, r := range records {
		if !bytes.Contains(evs[i].Data, []byte(`"`)) {
			t.Fatalf("%s holds nothing to hide", r.Type)
		}
		if stored := fmt.Sprintf("%s", [][]byte{[]byte(r.Stream), []byte(r.Type), r.Metadata, r.Data}); strings.Contains(stored, canary) {
			t.Errorf("%s shows personal data: %s", r.Type, stored)
		}
		// No part of the payload, such as the name of a member, is in clear either.
		if bytes.Contains(r.Data, evs[i].Data[:8]) {
			t.Errorf("%s is not encrypted: %s", r.Type, r.Data)
		}
	}
}

func TestEachEncryptionOfAPayloadDiffers(t *testing.T) {
	log := memory.New()
	stream := newStream()
	same := events.PasswordChanged{Hash: "$argon2id$1"}
	write(t, eventstore.NewStore(log, newKeys(t)), stream, 0, same, same)
	records, err := log.ReadAll(t.Context(), 0, 2)
	if err != nil || bytes.Equal(records[0].Data, records[1].Data) {
		t.Errorf("%v", err)
	}
}

func TestExchangedPayloadsAreNoticed(t *testing.T) {
	swap := func(a, b int) func([]eventstore.Record) {
		return func(r []eventstore.Record) { r[a].Data, r[b].Data = r[b].Data, r[a].Data }
	}
	tests := map[string]struct {
		tamper func([]eventstore.Record)
		first  int // index of the first event that cannot be read
	}{
		"between versions of one type":    {swap(1, 2), 1},
		"between types":                   {swap(0, 1), 0},
		"between streams":                 {swap(0, 3), 0},
		"a byte changed":                  {func(r []eventstore.Record) { r[2].Data[len(r[2].Data)-1] ^= 1 }, 2},
		"cut short":                       {func(r []eventstore.Record) { r[1].Data = r[1].Data[:5] }, 1},
		"another type":                    {func(r []eventstore.Record) { r[1].Type = events.TypeEmailChangeCancelled }, 1},
		"another version":                 {func(r []eventstore.Record) { r[2].Version = 2 }, 2},
		"another id":                      {func(r []eventstore.Record) { r[2].ID = r[1].ID }, 2},
		"moved to another stream":         {func(r []eventstore.Record) { r[3].Stream = r[0].Stream }, 3},
		"a payload of its own, in clear":  {func(r []eventstore.Record) { r[1].Data = []byte(`{"newEmail":"eve@example.com"}`) }, 1},
		"no payload at all":               {func(r []eventstore.Record) { r[3].Data = nil }, 3},
		"an older payload of the account": {func(r []eventstore.Record) { r[2].Data = r[1].Data }, 2},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			log, keys := memory.New(), newKeys(t)
			s := eventstore.NewStore(log, keys)
			a, b := newStream(), newStream()
			written := write(t, s, a, 0, opening("a@example.se"), events.EmailChanged{NewEmail: "b@example.se"}, events.EmailChanged{NewEmail: "c@example.se"})
			written = append(written, write(t, s, b, 0, opening("d@example.se"))...)

			got, err := eventstore.NewStore(tampering{log, test.tamper}, keys).ReadAll(t.Context(), 0, 10)
			if !errors.Is(err, eventstore.ErrSealBroken) {
				t.Fatalf("%v", err)
			}
			if want := fmt.Sprintf("at position %d:", test.first+1); !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not say %q", err, want)
			}
			if len(got) != test.first || !reflect.DeepEqual(got, written[:test.first:test.first]) {
				t.Errorf("events before the faulty one: %+v", got)
			}
		})
	}
}

func TestMalformedMetadataIsAnError(t *testing.T) {
	log, keys := memory.New(), newKeys(t)
	stream := newStream()
	written := write(t, eventstore.NewStore(log, keys), stream, 0, opening("a@example.se"), events.AccountErased{})
	for name, test := range map[string]struct {
		record int
		want   error
	}{"sealed": {0, eventstore.ErrSealBroken}, "clear": {1, eventstore.ErrMetadata}} {
		t.Run(name, func(t *testing.T) {
			broken := tampering{log, func(r []eventstore.Record) { r[test.record].Metadata = []byte("{") }}
			got, err := eventstore.NewStore(broken, keys).ReadAll(t.Context(), 0, 10)
			at := fmt.Sprintf("event %s at position %d", written[test.record].Type, test.record+1)
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), at) || !slices.EqualFunc(got, written[:test.record], equal) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

func equal(a, b events.Event) bool { return reflect.DeepEqual(a, b) }

func TestEventWithoutItsKeyNamesTypeAndPosition(t *testing.T) {
	log, keys := memory.New(), newKeys(t)
	foreign := newStream()
	write(t, eventstore.NewStore(log, newKeys(t)), foreign, 0, opening("a@example.se"), events.AccountErased{})
	s := eventstore.NewStore(log, keys)
	stream := newStream()
	write(t, s, stream, 0, opening("b@example.se"))

	got, err := s.ReadStream(t.Context(), foreign, 0, 10)
	if !errors.Is(err, eventstore.ErrNoKey) || len(got) != 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, part := range []string{"AccountOpened.v1", "at position 1", string(foreign)} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	if _, err := s.Append(t.Context(), foreign, 2, nil, newEvents(t, foreign, 2, events.PasswordChanged{})); !errors.Is(err, eventstore.ErrNoKey) {
		t.Errorf("appended to a stream that cannot be read: %v", err)
	}
	if _, err := s.ReadStream(t.Context(), stream, 0, 10); err != nil {
		t.Errorf("a stream whose key is there: %v", err)
	}
}

func TestAStreamCanEndWithoutItsKey(t *testing.T) {
	log := memory.New()
	keys := newKeys(t)
	account, credential := newStream(), events.CredentialStream(ulid.Make())
	s := eventstore.NewStore(log, keys)
	write(t, s, account, 0, opening("a@example.se"))
	write(t, s, credential, 0, events.KeyIssued{Client: "kassan"})

	keyless := eventstore.NewStore(log, newKeys(t))
	for stream, ending := range map[events.Stream]events.Payload{account: events.AccountErased{}, credential: events.CredentialRevoked{}} {
		want := write(t, keyless, stream, 1, ending)
		got, err := keyless.ReadStream(t.Context(), stream, 1, 10)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

func TestConflictsKeepTheirType(t *testing.T) {
	s := eventstore.NewStore(memory.New(), newKeys(t))
	stream := newStream()
	write(t, s, stream, 0, opening("a@example.se"))
	_, err := s.Append(t.Context(), stream, 0, nil, newEvents(t, stream, 0, opening("b@example.se")))
	var conflict *eventstore.VersionConflict
	if !errors.Is(err, eventstore.ErrConflict) || !errors.As(err, &conflict) || conflict.Actual != 1 || conflict.Expected != 0 {
		t.Errorf("%v", err)
	}
	if errors.Is(err, eventstore.ErrTaken) {
		t.Error("a conflict is taken for a claim")
	}
	// The refused append created the key of the stream.
	if _, err := s.ReadStream(t.Context(), stream, 0, 10); err != nil {
		t.Error(err)
	}
}
