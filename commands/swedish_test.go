package commands

import (
	"testing"
	"time"

	"konto/events"
)

// Numbers that the tax agency hands out are read, in every notation. Those
// with 00 and 60 are from its own test data.
func TestSwedishNumbers(t *testing.T) {
	const person, organisation = events.IdentifierPersonal, events.IdentifierOrganisation
	for _, tt := range []struct{ value, stored, kind string }{
		{"850507-3412", "850507-3412", person}, // HostUp's example, whose check digit is wrong
		{"811218-9876", "811218-9876", person},
		{"8112189876", "811218-9876", person},
		{"198112189876", "811218-9876", person},
		{"19811218-9876", "811218-9876", person},
		{"811218\u20119876", "811218-9876", person},
		{"19811218 9876", "811218-9876", person},

		{"121212-1212", "121212-1212", person},
		{"1212121212", "121212-1212", person},
		{"201212121212", "121212-1212", person},
		{"20121212-1212", "121212-1212", person},
		{"121212+1212", "191212121212", person},
		{"191212121212", "191212121212", person},
		{"19121212-1212", "191212121212", person},
		{"19121212+1212", "191212121212", person},
		{"18811218-9876", "188112189876", person},
		{"811218+9876", "188112189876", person},
		{"261130-1234", "261130-1234", person},  // born today
		{"261215-1234", "192612151234", person}, // not yet born, so 99 years old
		{"270101-1234", "270101-1234", person},  // 99 years old
		{"000229-1234", "000229-1234", person},  // 2000 was a leap year

		{"701063-2391", "701063-2391", person},
		{"197010632391", "701063-2391", person},
		{"197010602394", "701060-2394", person},  // the day is not known
		{"191500882392", "191500882392", person}, // the month is not known
		{"191500722390", "191500722390", person},
		{"191503882399", "191503882399", person},
		{"700060-2394", "700060-2394", person}, // neither is
		{"701091-1234", "701091-1234", person},

		{"5560360793", "556036-0793", organisation},
		{"165560360793", "556036-0793", organisation},
		{"16556036-0793", "556036-0793", organisation},
	} {
		n, wrong := readSwedishNumber(tt.value, today)
		if wrong != nil || n.value != tt.stored || n.kind != tt.kind {
			t.Errorf("%s: %+v, %+v", tt.value, n, wrong)
		}
	}
}

func TestImpossibleSwedishNumbersAreRefused(t *testing.T) {
	for _, value := range []string{
		"850231-3412", "850230-3412", "850431-3412", "850500-3412", "851301-3412", "850032-3412",
		"850229-3412", // 1985 was no leap year
		"000229+1234", // nor was 1900
		"850291-3412", // a co-ordination number's 31 February
		"701092-1234", "700092-1234", "701360-1234", "700001-1234", "701000-1234", "701059-1234", "701032-1234",
		"190002291235", "198502313417", "202612151239", "299901011234", "178112189876", "168112189876", "008112189876",
		"20121212+1212", // who has a plus is a hundred
		"271231+1234",   // born 1827
		"198112180008",  // no number has 000 behind its date
		"198112189875", "8112189875",
		"556036+0793", "195560360793",
	} {
		if n, wrong := readSwedishNumber(value, today); wrong == nil {
			t.Errorf("%s is read as %+v", value, n)
		}
	}
}

// What a stored number means does not move with the time.
func TestStoredSwedishNumbersKeepTheirMeaning(t *testing.T) {
	later := time.Date(2031, 6, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct{ value, stored string }{
		{"850507-3412", "850507-3412"},
		{"270101-1234", "202701011234"}, // a child by now
		{"280101-1234", "202801011234"},
		{"20270101-1237", "202701011237"},
		{"121212-1212", "121212-1212"},
		{"121212+1212", "191212121212"},
	} {
		if n, wrong := readSwedishNumber(tt.value, later); wrong != nil || n.value != tt.stored {
			t.Errorf("%s: %+v, %+v", tt.value, n, wrong)
		}
	}
}

// Where Payway's format has decided, only the date is looked at.
func TestDecidedNumbersHaveADateOfBirth(t *testing.T) {
	for _, value := range []string{"850231-3412", "000000-0000", "198502293412", "202612153412", "999999999999", "000000000000"} {
		for _, pointer := range []string{"/socialSecurityNumber", "/companyRegistrationNumber"} {
			var u events.ProfileUpdated
			*field(&u, pointer) = events.Set(value)
			c := checker{now: today}
			c.profile(&u, events.Profile{}, true)
			if len(c.wrong) != 1 || c.wrong[0].Field != pointer || c.wrong[0].Code != CodeInvalidValue {
				t.Errorf("%s %s: %+v", pointer, value, c.wrong)
			}
		}
	}
}

// One person has one claim in all notations, and two people have two.
func TestClaimsOfSocialSecurityNumbers(t *testing.T) {
	people := [][]string{
		{"850507-3412", "8505073412", "198505073412", "19850507-3412"},
		{"121212-1212", "1212121212", "201212121212", "20121212-1212"},
		{"121212+1212", "191212121212", "19121212-1212", "19121212+1212"},
		{"188112189876", "811218+9876"},
		{"811218-9876", "198112189876"},
		{"261215-1234", "192612151234"},
		{"556036-0793", "165560360793"}, // an organisation's, which Payway's format takes too
	}
	holder := map[events.Claim]int{}
	for i, notations := range people {
		for _, value := range notations {
			claim := SocialSecurityNumberClaim(value, today)
			if other, held := holder[claim]; held && other != i {
				t.Errorf("%s has the claim of %s", value, people[other][0])
			}
			holder[claim] = i
			if n, wrong := readSwedishNumber(value, today); wrong == nil && claim != events.SocialSecurityNumberClaim(n.value) {
				t.Errorf("%s is stored as %s, which claims something else", value, n.value)
			}
		}
	}
	if len(holder) != len(people) {
		t.Errorf("%d people have %d claims", len(people), len(holder))
	}
}

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
