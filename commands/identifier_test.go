package commands

import (
	"testing"

	"konto/events"
)

func TestRegistrationIdentifier(t *testing.T) {
	const person, organisation = events.IdentifierPersonal, events.IdentifierOrganisation
	type id = events.RegistrationIdentifier
	finnish := events.Profile{CountryCode: "FI", AccountType: events.TypeOrganisation}
	tests := []struct {
		name    string
		given   id
		profile events.Profile
		want    id
		field   string // of the one error, below /registrationIdentifier
		code    string
	}{
		{name: "HostUp's example, whose check digit is wrong", given: id{Value: "850507-3412", CountryCode: "SE"}, want: id{Value: "850507-3412", CountryCode: "SE", Type: person}},
		{name: "ten digits", given: id{Value: "8112189876", CountryCode: "se"}, want: id{Value: "811218-9876", CountryCode: "SE", Type: person}},
		{name: "twelve digits", given: id{Value: " 198112189876 ", CountryCode: "SE"}, want: id{Value: "811218-9876", CountryCode: "SE", Type: person}},
		{name: "twelve digits and a hyphen", given: id{Value: "19811218-9876", CountryCode: "SE"}, want: id{Value: "811218-9876", CountryCode: "SE", Type: person}},
		{name: "a centenarian's plus", given: id{Value: "811218+9876", CountryCode: "SE"}, want: id{Value: "188112189876", CountryCode: "SE", Type: person}},
		{name: "co-ordination number", given: id{Value: "701063-2391", CountryCode: "SE"}, want: id{Value: "701063-2391", CountryCode: "SE", Type: person}},
		{name: "organisation number", given: id{Value: "5560360793", CountryCode: "SE"}, want: id{Value: "556036-0793", CountryCode: "SE", Type: organisation}},
		{name: "organisation number with its 16", given: id{Value: "165560360793", CountryCode: "SE"}, want: id{Value: "556036-0793", CountryCode: "SE", Type: organisation}},
		{name: "no country is the account's", given: id{Value: "ab-12.3/4 x"}, profile: finnish, want: id{Value: "AB-12.3/4 X", CountryCode: "FI", Type: organisation}},
		{name: "no country at all is Sweden", given: id{Value: "556036-0793"}, want: id{Value: "556036-0793", CountryCode: "SE", Type: organisation}},
		{name: "a person abroad", given: id{Value: "131052-308t", CountryCode: "FI"}, want: id{Value: "131052-308T", CountryCode: "FI", Type: person}},
		{name: "pasted abroad", given: id{Value: "\u200e 131052\u2011308t", CountryCode: "FI"}, want: id{Value: "131052-308T", CountryCode: "FI", Type: person}},

		{name: "wrong check digit", given: id{Value: "8505073412", CountryCode: "SE"}, field: "/value", code: CodeInvalidValue},
		{name: "wrong check digit with a century", given: id{Value: "19850507-3412", CountryCode: "SE"}, field: "/value", code: CodeInvalidValue},
		{name: "month 13", given: id{Value: "811318-9876", CountryCode: "SE"}, field: "/value", code: CodeInvalidValue},
		{name: "month 0", given: id{Value: "810018-9876", CountryCode: "SE"}, field: "/value", code: CodeInvalidValue},
		{name: "day 32", given: id{Value: "811232-9876", CountryCode: "SE"}, field: "/value", code: CodeInvalidValue},
		{name: "day 59", given: id{Value: "811259-9876", CountryCode: "SE"}, field: "/value", code: CodeInvalidValue},
		{name: "day 0", given: id{Value: "811200-9876", CountryCode: "SE"}, field: "/value", code: CodeInvalidValue},
		{name: "a century for neither", given: id{Value: "178112189876", CountryCode: "SE"}, field: "/value", code: CodeInvalidValue},
		{name: "a person's with 16", given: id{Value: "168112189876", CountryCode: "SE"}, field: "/value", code: CodeInvalidValue},
		{name: "eleven digits", given: id{Value: "19811218987", CountryCode: "SE"}, field: "/value", code: CodeInvalidFormat},
		{name: "letters", given: id{Value: "811218-98AB", CountryCode: "SE"}, field: "/value", code: CodeInvalidFormat},
		{name: "no value", given: id{CountryCode: "SE"}, field: "/value", code: CodeMustBeSet},
		{name: "wrong country", given: id{Value: "850507-3412", CountryCode: "XX"}, field: "/countryCode", code: CodeInvalidValue},
		{name: "too long abroad", given: id{Value: "123456789012345678901234567890123", CountryCode: "FI"}, field: "/value", code: CodeInvalidFormat},
		{name: "odd characters abroad", given: id{Value: "12_34", CountryCode: "FI"}, field: "/value", code: CodeInvalidFormat},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := events.ProfileUpdated{RegistrationIdentifier: events.Set(tt.given)}
			c := checker{now: today}
			c.profile(&u, tt.profile, false)
			if u.RegistrationIdentifier.To != tt.want {
				t.Errorf("got %+v, want %+v", u.RegistrationIdentifier.To, tt.want)
			}
			if tt.code == "" {
				if len(c.wrong) > 0 {
					t.Errorf("unexpected %+v", c.wrong)
				}
				return
			}
			if len(c.wrong) != 1 || c.wrong[0].Field != "/registrationIdentifier"+tt.field || c.wrong[0].Code != tt.code {
				t.Errorf("got %+v, want %s %s", c.wrong, tt.field, tt.code)
			}
			if u.RegistrationIdentifier.Made {
				t.Error("the wrong change was kept")
			}
		})
	}
}

func TestRegistrationIdentifierReportsBothMembers(t *testing.T) {
	u := events.ProfileUpdated{RegistrationIdentifier: events.Set(events.RegistrationIdentifier{Value: " ", CountryCode: "XX"})}
	c := checker{now: today}
	c.profile(&u, events.Profile{}, false)
	if len(c.wrong) != 2 || c.wrong[0].Field != "/registrationIdentifier/value" || c.wrong[1].Field != "/registrationIdentifier/countryCode" {
		t.Errorf("got %+v", c.wrong)
	}
}
