package webhook

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/golang-jwt/jwt/v5"
	"github.com/oklog/ulid/v2"

	"konto/events"
)

var formats = []string{events.FormatCloudEvents, events.FormatPayway, events.FormatPaywaySSI, events.FormatRISC}

// life is an account's, with every member that a format shows set and, at
// first, hardly one.
func life() []events.Payload {
	return []events.Payload{
		events.AccountOpened{Email: "anna@example.com", PaywayID: "50f3ac249f6aef294d000007"},
		events.EmailChanged{PreviousEmail: "anna@example.com", NewEmail: "anna@example.org", How: events.EmailDirect},
		events.ProfileUpdated{
			FirstName: events.Set("Åsa"), LastName: events.Set("Öberg"), CompanyName: events.Set("Öberg & Co"),
			Alias: events.Set("asa"), AccountOrigin: events.Set("Bladet"), BirthDate: events.Set("1985-05-07"),
			PhoneNumber: events.Set("+46701234567"), CustomerNumber: events.Set("004711"),
			SocialSecurityNumber: events.Set("850507-3412"), CompanyRegistrationNumber: events.Set("556677-8899"),
			Address: events.AddressUpdated{
				FirstName: events.Set("Å"), LastName: events.Set("Ö"), Street: events.Set("Storgatan"), StreetNumber: events.Set("1"),
				Staircase: events.Set("B"), Floor: events.Set("2"), ApartmentNumber: events.Set("1201"), PostalCode: events.Set("11122"),
				City: events.Set("Stockholm"), MobileNumber: events.Set("0701234567"), PhoneNumber: events.Set("081234567"),
				CountryCode: events.Set("SE"),
			},
		},
		events.EmailChangeRequested{NewEmail: "asa@example.net", Request: testID, CodeHash: []byte("canary"), ExpiresAt: opened.Add(99 * time.Hour)},
		events.PasswordChanged{Hash: "canary"},
		events.AccountErased{},
	}
}

// shown is a body as golden files have it: of a token, its header and its claims.
func shown(t *testing.T, m message) []byte {
	t.Helper()
	if m.media != mediaSecurityEvent {
		return m.body
	}
	parts := strings.Split(string(m.body), ".")
	var text []byte
	for i, name := range []string{`{"header":`, `,"claims":`} {
		part, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		text = append(append(text, name...), part...)
	}
	return append(text, '}')
}

// Golden files are FORMAT.TYPE.json, held by eye against the formats' own
// texts; an event without a file is one that the format cannot express.
func TestFormats(t *testing.T) {
	h := newHarness(t)
	s := h.sender()
	var used []string
	check := func(name string, m message, err error) {
		used = append(used, name)
		golden, missing := os.ReadFile(name)
		if missing != nil {
			if !errors.Is(err, errInexpressible) {
				t.Errorf("%s is missing: %v %s", name, err, shown(t, m))
			}
			return
		}
		want := jsontext.Value(golden)
		if err := want.Compact(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err != nil || !bytes.Equal(shown(t, m), want) {
			t.Errorf("%s: %v\n%s", name, err, shown(t, m))
		}
	}
	for _, p := range life() {
		e := h.append(p)
		name, _, _ := strings.Cut(e.Type, ".")
		for _, format := range formats {
			to := party(format, "")
			m, err := s.compose(t.Context(), &to, &e)
			check("testdata/"+format+"."+name+".json", m, err)
			again, _ := h.sender().compose(t.Context(), &to, &e)
			if !bytes.Equal(m.body, again.body) || err == nil && (m.id != e.ID || again.id != e.ID) {
				t.Errorf("a repetition of %s as %s differs: %s", name, format, again.body)
			}
			if bytes.Contains(shown(t, m), []byte("canary")) || bytes.Contains(shown(t, m), []byte("Y2FuYXJ5")) {
				t.Errorf("%s as %s holds a secret: %s", name, format, m.body)
			}
		}
	}
	for _, format := range formats {
		to := party(format, "")
		m, err := s.composeTest(&to, testID, opened)
		check("testdata/"+format+".test.json", m, err)
	}
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("golden files %v, %v", files, err)
	}
	for _, file := range files {
		if !slices.Contains(used, file) {
			t.Errorf("%s is the golden file of nothing", file)
		}
	}
}

func TestSecurityEventsAreSignedWithTheKeyOfTheSet(t *testing.T) {
	h := newHarness(t)
	e := h.changed()
	to := party(events.FormatRISC, "")
	m, err := h.sender().compose(t.Context(), &to, &e)
	if err != nil {
		t.Fatal(err)
	}
	set := parseKeySet(t, KeySet(testKey()))
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"EdDSA"}), jwt.WithIssuer("https://konto.example.com"), jwt.WithAudience("crm"))
	token, err := parser.Parse(string(m.body), func(token *jwt.Token) (any, error) { return set[token.Header["kid"].(string)], nil })
	if err != nil || !token.Valid {
		t.Errorf("the token is not valid: %v", err)
	}
}

func TestInexpressibleEventsAreNotSent(t *testing.T) {
	h := newHarness(t)
	url, got := endpoint(t, status(200))
	e := h.changed()
	profile := h.append(events.ProfileUpdated{FirstName: events.Set("Anna")})
	gone := h.cfg
	gone.Accounts = past(func() (events.Account, error) { return events.Account{ID: testID, Version: 2, Erased: true}, nil })
	broken := h.cfg
	broken.Accounts = past(func() (events.Account, error) { return events.Account{}, errors.New("anna@example.com") })
	credential := events.Event{ID: testID, Stream: events.CredentialStream(testID), Type: events.TypeCredentialRevoked, Version: 2}
	for name, test := range map[string]struct {
		cfg    Config
		format string
		event  events.Event
		want   Answer
	}{
		"a profile as risc":        {h.cfg, events.FormatRISC, profile, Answer{Verdict: Skipped, Problem: "format cannot express the event"}},
		"an event of a credential": {h.cfg, events.FormatPayway, credential, Answer{Verdict: Skipped, Problem: "format cannot express the event"}},
		"one as a CloudEvent":      {h.cfg, events.FormatCloudEvents, credential, Answer{Verdict: Skipped, Problem: "format cannot express the event"}},
		"one as risc":              {h.cfg, events.FormatRISC, credential, Answer{Verdict: Skipped, Problem: "format cannot express the event"}},
		"an erased account":        {gone, events.FormatPayway, e, Answer{Verdict: Skipped, Problem: "account was erased"}},
		"an unreadable account":    {broken, events.FormatPaywaySSI, e, Answer{Verdict: Unsent, Problem: "event could not be put into the format"}},
		"an unknown format":        {h.cfg, "morse", e, Answer{Verdict: Unsent, Problem: "event could not be put into the format"}},
	} {
		s, err := NewSender(test.cfg)
		if err != nil {
			t.Fatal(err)
		}
		a := s.Send(t.Context(), party(test.format, url), test.event)
		if a.Verdict != test.want.Verdict || a.Problem != test.want.Problem || len(got) > 0 {
			t.Errorf("%s: %+v, and %d requests", name, a, len(got))
		}
	}
	if a := h.sender().Test(t.Context(), party("morse", url)); a.Problem == "" || len(got) > 0 {
		t.Errorf("a test in an unknown format: %+v", a)
	}
}

// past is a Past that fails.
type past func() (events.Account, error)

func (p past) AccountAt(context.Context, ulid.ULID, uint64) (events.Account, error) { return p() }
