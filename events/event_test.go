package events_test

import (
	"slices"
	"strings"
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

func TestStreamNames(t *testing.T) {
	for stream, category := range map[events.Stream]string{
		events.AccountStream(accountID):    events.CategoryAccount,
		events.CredentialStream(accountID): events.CategoryCredential,
		events.ThirdPartyStream(accountID): events.CategoryThirdParty,
	} {
		if want := events.Stream(category + "-01HXA3B4C5D6E7F8G9H0J1K2M3"); stream != want {
			t.Errorf("%s, want %s", stream, want)
		}
		got, owner, err := stream.Split()
		if err != nil || got != category || owner != accountID || stream.Category() != category {
			t.Errorf("%s: %s, %s, %v", stream, got, owner, err)
		}
	}
}

func TestMalformedStreamNamesAreRefused(t *testing.T) {
	for _, stream := range []events.Stream{
		"", "-", "account", "account-", "account-1",
		"01HXA3B4C5D6E7F8G9H0J1K2M3", "-01HXA3B4C5D6E7F8G9H0J1K2M3",
		"account-01HXA3B4C5D6E7F8G9H0J1K2M", "account-01HXA3B4C5D6E7F8G9H0J1K2M33",
		"account-81HXA3B4C5D6E7F8G9H0J1K2M3", "account-01HXA3B4C5D6E7F8G9H0J1K2MU",
		"account-01hxa3b4c5d6e7f8g9h0j1k2m3", // two names would be two streams of one owner
	} {
		if category, owner, err := stream.Split(); err == nil || category != "" || !owner.IsZero() || stream.Category() != "" {
			t.Errorf("%q: %q, %s, %v", stream, category, owner, err)
		}
	}
}

const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestTraceContext(t *testing.T) {
	for _, parents := range [][]string{
		{}, {""}, {traceparent, traceparent}, {traceparent + "\n"}, {traceparent + "-x"}, {"ff" + traceparent[2:]}, {strings.ToUpper(traceparent)},
		{strings.Replace(traceparent, "-", "0", 1)}, {strings.Replace(traceparent, "4b", "4-", 1)}, {strings.Replace(traceparent, "4b", "ö", 1)},
		{"00-00000000000000000000000000000000-00f067aa0ba902b7-01"}, {"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"},
	} {
		if parent, state := events.TraceContext(parents, []string{"a=1"}); parent != "" || state != "" {
			t.Errorf("%q gives %q, %q", parents, parent, state)
		}
	}
	for state, states := range map[string][]string{
		"":                               {"a=1\r\nx: y"},
		"a=1":                            {" a=1\t"},
		"a=1,b@c=2":                      {"a=1", "b@c=2"},
		"a=" + strings.Repeat("x", 510):  {"a=" + strings.Repeat("x", 510)},
		"rojo=00f067aa0ba902b7,congo=t6": {"rojo=00f067aa0ba902b7,congo=t6"},
	} {
		if parent, got := events.TraceContext([]string{traceparent}, states); parent != traceparent || got != state {
			t.Errorf("%q gives %q, %q", states, parent, got)
		}
	}
	for _, states := range [][]string{nil, {}, {""}, {"nothing"}, {"a=ö"}, {"a=\x7f"}, {"a=" + strings.Repeat("x", 511)}} {
		if parent, state := events.TraceContext([]string{traceparent}, states); parent != traceparent || state != "" {
			t.Errorf("%q gives %q, %q", states, parent, state)
		}
	}
}

func TestTraceIsPublished(t *testing.T) {
	for state, want := range map[string][][2]string{
		"":           {{"traceparent", traceparent}},
		"congo=t6 1": {{"traceparent", traceparent}, {"tracestate", "congo=t6 1"}},
	} {
		e, err := events.New(events.AccountStream(accountID), 1, accountID, opened, events.Metadata{Trace: traceparent, TraceState: state}, events.AccountErased{})
		if err != nil {
			t.Fatal(err)
		}
		m, _, err := events.Publish(e)
		if err != nil || !slices.Equal(m.Headers[9:], want) {
			t.Errorf("headers %q, %v", m.Headers, err)
		}
	}
}
