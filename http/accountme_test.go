package http

import (
	"testing"
	"time"

	"konto/commands"
	"konto/events"
)

var timeOfTest = time.Date(2026, 4, 27, 12, 34, 56, 0, time.UTC)

func TestEmailChangeState(t *testing.T) {
	soon, past := timeOfTest.Add(time.Hour), timeOfTest
	for name, test := range map[string]struct {
		change events.PendingEmail
		want   string
	}{
		"nothing was asked for": {events.PendingEmail{}, `{"status":"none","pendingEmail":null,"expiresAt":null}`},
		"a change is pending": {events.PendingEmail{NewEmail: "eva@example.com", ExpiresAt: soon},
			`{"status":"pending","pendingEmail":"eva@example.com","expiresAt":"2026-04-27T13:34:56.000Z"}`},
		"a pending change has expired": {events.PendingEmail{NewEmail: "eva@example.com", ExpiresAt: past},
			`{"status":"none","pendingEmail":null,"expiresAt":null}`},
		"the present address was confirmed": {events.PendingEmail{Verified: true},
			`{"status":"verified","pendingEmail":null,"expiresAt":null}`},
		"another is pending after a confirmed one": {events.PendingEmail{NewEmail: "eva@example.com", ExpiresAt: soon, Verified: true},
			`{"status":"pending","pendingEmail":"eva@example.com","expiresAt":"2026-04-27T13:34:56.000Z"}`},
	} {
		w := jsonWriter{data: []byte("{")}
		writeEmailChange(&w, &test.change, timeOfTest)
		if got := string(w.data); got != `{"emailChangeState":`+test.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestReasonForARequiredIdentifierNamesItsType(t *testing.T) {
	const person = "A personal identity number is required because your account has active .se or .nu domains."
	const company = "An organisation number is required because your account has active .se or .nu domains."
	for _, test := range []struct{ accountType, identifier, want string }{
		{"", "", person},
		{events.TypePrivate, "", person},
		{events.TypeOrganisation, "", company},
		{events.TypeOrganisation, events.IdentifierPersonal, person},
		{events.TypePrivate, events.IdentifierOrganisation, company},
	} {
		a := events.Account{Facts: events.Facts{SeNuDomains: 1}}
		a.Profile.AccountType, a.Profile.RegistrationIdentifier.Type = test.accountType, test.identifier
		if got := requirementsOf(&a)[1].reason; got != test.want {
			t.Errorf("%+v: %s", test, got)
		}
	}
}

func TestGenericNameIsTheCompanysOrThePersons(t *testing.T) {
	for _, test := range []struct{ accountType, company, first, last, want string }{
		{events.TypeOrganisation, "Ek AB", "Eva", "Ek", "Ek AB"},
		{events.TypeOrganisation, "", "Eva", "Ek", "Eva Ek"},
		{events.TypePrivate, "Ek AB", "Eva", "", "Eva"},
		{events.TypePrivate, "Ek AB", "", "", "Ek AB"},
		{"", "", "", "", ""},
	} {
		a := events.Account{Profile: events.Profile{
			AccountType: test.accountType, CompanyName: test.company, FirstName: test.first, LastName: test.last,
		}}
		if got := commands.Name(&a.Profile); got != test.want {
			t.Errorf("%+v: %s", test, got)
		}
	}
}
