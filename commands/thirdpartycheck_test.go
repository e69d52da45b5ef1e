package commands

import (
	"errors"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
)

func TestWrongThirdPartiesAreRefused(t *testing.T) {
	r := register(t)
	name := func(s string) AddThirdParty { return AddThirdParty{Name: s, URL: crm().URL} }
	url := func(s string) AddThirdParty { return AddThirdParty{Name: "x", URL: s} }
	told := func(format string, types ...string) AddThirdParty {
		return AddThirdParty{Name: "x", URL: crm().URL, Format: format, Events: types}
	}
	tests := map[string]struct {
		spec        AddThirdParty
		field, code string
	}{
		"no name":                         {name(""), "/name", CodeInvalidFormat},
		"a long name":                     {name(strings.Repeat("a", 65)), "/name", CodeInvalidFormat},
		"a capital":                       {name("Crm"), "/name", CodeInvalidFormat},
		"a name that would be a flag":     {name("-crm"), "/name", CodeInvalidFormat},
		"a name in two lines":             {name("crm\n"), "/name", CodeInvalidFormat},
		"an id for a name":                {name(strings.ToLower(ulid.Make().String())), "/name", CodeNotAllowed},
		"no URL":                          {url(""), "/url", CodeInvalidFormat},
		"a path":                          {url("/hook"), "/url", CodeInvalidFormat},
		"no scheme":                       {url("//crm.example.com"), "/url", CodeInvalidFormat},
		"another scheme":                  {url("ftp://crm.example.com"), "/url", CodeInvalidFormat},
		"opaque":                          {url("https:crm.example.com"), "/url", CodeInvalidFormat},
		"no host":                         {url("https:///hook"), "/url", CodeInvalidFormat},
		"a port alone":                    {url("https://:443/"), "/url", CodeInvalidFormat},
		"an empty port":                   {url("https://crm.example.com:/"), "/url", CodeInvalidFormat},
		"port 0":                          {url("https://crm.example.com:0/"), "/url", CodeInvalidFormat},
		"a high port":                     {url("https://crm.example.com:65536/"), "/url", CodeInvalidFormat},
		"a user":                          {url("https://konto@crm.example.com"), "/url", CodeNotAllowed},
		"a password":                      {url("https://konto:pw@crm.example.com"), "/url", CodeNotAllowed},
		"an empty user":                   {url("https://@crm.example.com"), "/url", CodeNotAllowed},
		"a fragment":                      {url("https://crm.example.com/#a"), "/url", CodeNotAllowed},
		"an empty fragment":               {url("https://crm.example.com/#"), "/url", CodeNotAllowed},
		"a space":                         {url("https://crm.example.com/a b"), "/url", CodeInvalidFormat},
		"a line end":                      {url("https://crm.example.com/a\r\nb"), "/url", CodeInvalidFormat},
		"a letter of Swedish":             {url("https://crm.example.com/å"), "/url", CodeInvalidFormat},
		"a long URL":                      {url("https://crm.example.com/" + strings.Repeat("a", 2048)), "/url", CodeTooLong},
		"an unknown format":               {told("xml"), "/format", CodeInvalidValue},
		"an unknown type":                 {told("", "EmailChanged", "AccountMerged"), "/events", CodeInvalidValue},
		"a version":                       {told("", "EmailChanged.v1"), "/events", CodeInvalidValue},
		"what is never published":         {told("", "KeyIssued"), "/events", CodeInvalidValue},
		"a profile as a security event":   {told(events.FormatRISC, "ProfileUpdated"), "/events", CodeInvalidValue},
		"a password in Payway's shape":    {told(events.FormatPayway, "PasswordChanged"), "/events", CodeInvalidValue},
		"a request in the SSI shape":      {told(events.FormatPaywaySSI, "EmailChangeRequested"), "/events", CodeInvalidValue},
		"an opening in the SSI shape":     {told(events.FormatPaywaySSI, "AccountOpened"), "/events", CodeInvalidValue},
		"a cancellation in Payway's":      {told(events.FormatPayway, "EmailChangeCancelled"), "/events", CodeInvalidValue},
		"a type of another konto's event": {told("", "emailchanged"), "/events", CodeInvalidValue},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := r.Add(t.Context(), events.Metadata{}, test.spec)
			checkWrong(t, err, test.field, test.code)
		})
	}
	if head, _ := r.log.Head(t.Context()); head != 1 {
		t.Errorf("something was stored: head is %d", head)
	}
}

func TestEachFormatAcceptsItsEventTypes(t *testing.T) {
	r := register(t)
	for format, types := range map[string][]string{
		events.FormatCloudEvents: {"AccountOpened", "ProfileUpdated", "EmailChanged", "EmailChangeRequested", "EmailChangeCancelled",
			"EmailChangeAttemptFailed", "PasswordChanged", "FactsRecorded", "IdentityLinked", "IdentityUnlinked", "AccountErased"},
		events.FormatPayway:    {"EmailChanged", "ProfileUpdated", "FactsRecorded", "EmailChangeRequested", "AccountErased"},
		events.FormatPaywaySSI: {"EmailChanged", "ProfileUpdated", "FactsRecorded", "AccountErased"},
		events.FormatRISC:      {"EmailChanged", "AccountErased"},
	} {
		if _, err := r.Add(t.Context(), events.Metadata{}, AddThirdParty{Name: format, URL: "https://[::1]:8443/", Format: format, Events: types}); err != nil {
			t.Errorf("%s: %v", format, err)
		}
	}
}

func TestThirdPartyNameIsUniqueUntilRemoval(t *testing.T) {
	r := register(t)
	var taken *eventstore.Taken
	if _, err := r.Add(t.Context(), events.Metadata{}, crm()); !errors.As(err, &taken) || taken.Kind != events.ClaimThirdPartyName {
		t.Fatalf("added twice: %v", err)
	}
	if _, err := r.Remove(t.Context(), events.Metadata{}, r.id); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Add(t.Context(), events.Metadata{}, crm()); err != nil {
		t.Errorf("after the removal: %v", err)
	}
}
