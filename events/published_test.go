package events_test

import (
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/oklog/ulid/v2"

	"konto/events"
)

// The vectors' encodings are written by hand from CloudEvents' HTTP binding
// 1.0.2, section 3.1.3.2, whose text its NATS binding repeats.
func TestHeaderValuesArePercentEncoded(t *testing.T) {
	text, err := os.ReadFile("testdata/cloudevents.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		About   string `json:"about"`
		Value   string `json:"value"`
		Encoded string `json:"encoded"`
	}
	if err := json.Unmarshal(text, &vectors, json.RejectUnknownMembers(true)); err != nil || len(vectors) == 0 {
		t.Fatalf("%d vectors, %v", len(vectors), err)
	}
	for _, v := range vectors {
		if got := events.EncodeHeader(v.Value); got != v.Encoded {
			t.Errorf("%s: %q, want %q", v.About, got, v.Encoded)
		}
		if decoded, err := url.PathUnescape(v.Encoded); err != nil || decoded != v.Value {
			t.Errorf("%s: a consumer reads %q, %v", v.About, decoded, err)
		}
	}
}

func published(t *testing.T, stream events.Stream, p events.Payload) (m events.Message, ok bool) {
	t.Helper()
	at := time.Date(2026, 3, 1, 13, 0, 0, 250_000_000, time.FixedZone("CET", 3600))
	e, err := events.New(stream, 7, ulid.MustParse("01HXA3B4C5D6E7F8G9H0J1K2M4"), at, events.Metadata{}, p)
	if err != nil {
		t.Fatal(err)
	}
	e.Position = 4711
	if m, ok, err = events.Publish(e); err != nil {
		t.Fatal(err)
	}
	return m, ok
}

func TestPublishedMessage(t *testing.T) {
	m, ok := published(t, events.AccountStream(accountID), events.ProfileUpdated{
		FirstName: events.Set("Åsa"), LastName: events.Set(`Öberg "Ö" 100 %`), Alias: events.Clear[string](),
	})
	if !ok || m.Subject != "konto.account.01HXA3B4C5D6E7F8G9H0J1K2M3.ProfileUpdated" {
		t.Errorf("subject %s, %v", m.Subject, ok)
	}
	// All attributes are ce- headers; unlike in HTTP, the content type is one of
	// them (NATS binding, section 3.1.2).
	want := [][2]string{
		{"ce-specversion", "1.0"},
		{"ce-id", "01HXA3B4C5D6E7F8G9H0J1K2M4"},
		{"ce-source", "/konto"},
		{"ce-type", "konto.account.ProfileUpdated.v1"},
		{"ce-subject", "01HXA3B4C5D6E7F8G9H0J1K2M3"},
		{"ce-time", "2026-03-01T12:00:00.25Z"},
		{"ce-datacontenttype", "application/json"},
		{"ce-position", "4711"},
		{"ce-accountversion", "7"},
	}
	if !slices.Equal(m.Headers, want) {
		t.Errorf("headers %q", m.Headers)
	}
	if want := `{"firstName":"Åsa","lastName":"Öberg \"Ö\" 100 %","alias":null}`; string(m.Data) != want {
		t.Errorf("data %s", m.Data)
	}
}

func TestSecretsAreNotPublished(t *testing.T) {
	const canary = "canary-of-a-secret"
	tests := map[string]struct {
		payload events.Payload
		want    string
	}{
		"PasswordChanged":  {events.PasswordChanged{Hash: canary}, `{}`},
		"IdentityLinked":   {events.IdentityLinked{Issuer: "https://id.example", Subject: canary}, `{}`},
		"IdentityUnlinked": {events.IdentityUnlinked{Issuer: "https://id.example", Subject: canary}, `{}`},
		"EmailChangeRequested": {
			events.EmailChangeRequested{NewEmail: "åsa@example.se", Request: ulid.MustParse("01KJMN8RV0Z5X7Q2W9E4T6Y8AB"), CodeHash: []byte(canary), ExpiresAt: opened},
			`{"newEmail":"åsa@example.se","request":"01KJMN8RV0Z5X7Q2W9E4T6Y8AB","expiresAt":"2026-03-01T12:00:00Z"}`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, stored, err := events.Encode(test.payload)
			if err != nil {
				t.Fatal(err)
			}
			m, ok := published(t, events.AccountStream(accountID), test.payload)
			if !ok || string(m.Data) != test.want || !strings.HasSuffix(m.Subject, "."+name) {
				t.Errorf("%v, %s %s", ok, m.Subject, m.Data)
			}
			if len(m.Data) >= len(stored) {
				t.Error("nothing was left out")
			}
		})
	}
}

func TestOnlyAccountEventsArePublished(t *testing.T) {
	for _, stream := range []events.Stream{
		events.CredentialStream(accountID),
		events.Stream(events.CategoryThirdParty + "-" + accountID.String()),
	} {
		if m, ok := published(t, stream, events.CredentialRevoked{}); ok {
			t.Errorf("published %s", m.Subject)
		}
	}
}

func TestPublishRefusesMalformedStreams(t *testing.T) {
	if _, ok, err := events.Publish(events.Event{Stream: "account-1", Type: events.TypeAccountErased}); ok || err == nil {
		t.Errorf("a malformed stream: %v, %v", ok, err)
	}
	request := events.Event{Stream: events.AccountStream(accountID), Type: events.TypeEmailChangeRequested, Data: []byte(`{"codeHash":7}`)}
	if _, ok, err := events.Publish(request); ok || err == nil {
		t.Errorf("a payload whose secret cannot be found: %v, %v", ok, err)
	}
}
