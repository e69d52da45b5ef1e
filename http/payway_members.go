package http

import (
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"konto/commands"
)

// paywayV1 and paywayV0 list the members of PUT accounts, in the present and in the
// earlier contract.
var (
	paywayV1 = placed("", slices.Concat(paywayCommon, []member{
		{name: "alias", field: "/alias", check: shortText, blank: true, unset: "__UNSET__"},
		optionalText("company_name", "/companyName"),
		{name: "address", members: slices.Concat(paywayAddress, []member{
			requiredText("building", "/address/building"),
			optionalText("mobile_number", "/address/mobileNumber"),
			optionalText("phone_number", "/address/phoneNumber"),
			optionalText("citizenship_country_code", "/address/citizenshipCountryCode"),
			optionalText("company_name", "/address/companyName"),
			optionalText("company_reference", "/address/companyReference"),
			optionalText("company_department", "/address/companyDepartment"),
			optionalText("company_crn", "/address/companyCrn"),
			optionalText("company_vat_number", "/address/companyVatNumber"),
			optionalText("care_of", "/address/careOf"),
		})},
	}))
	paywayV0 = placed("", slices.Concat(paywayCommon, []member{{name: "address", members: paywayAddress}}))
)

// paywayCommon lists the members of both versions, except the address.
var paywayCommon = []member{
	{name: "id", required: true, check: paywayID},
	{name: "atomic", flag: func(b *body, atomic bool) { b.update.Partial = !atomic }},
	{name: "email", field: "/email", check: paywayEmail},
	optionalText("first_name", "/firstName"),
	optionalText("last_name", "/lastName"),
	{name: "mobile_phone_number", field: "/phoneNumber", check: paywayMobile},
	{name: "social_security_number", field: "/socialSecurityNumber", check: paywaySocialSecurityNumber},
	{name: "birth_date", field: "/birthDate", check: calendarDate},
	{name: "company_registration_number", field: "/companyRegistrationNumber", check: paywayCompanyNumber},
	optionalText("account_origin", "/accountOrigin"),
}

// paywayAddress lists the members of an address in both versions. A request with an
// address must have all required members. Members that it omits do not change.
var paywayAddress = []member{
	requiredText("first_name", "/address/firstName"),
	requiredText("last_name", "/address/lastName"),
	requiredText("street", "/address/street"),
	requiredText("zip_code", "/address/postalCode"),
	requiredText("city", "/address/city"),
	{name: "country_code", field: "/address/countryCode", required: true, check: oneOf("SE", "FI", "AX")},
	optionalText("street_number", "/address/streetNumber"),
	optionalText("staircase", "/address/staircase"),
	optionalText("floor", "/address/floor"),
	optionalText("apartment_number", "/address/apartmentNumber"),
	optionalText("dropbox", "/address/dropbox"),
}

// optionalText is an optional text without a format. "" clears it.
func optionalText(name, field string) member {
	return member{name: name, field: field, check: shortText, blank: true}
}

// requiredText is a required text without a format.
func requiredText(name, field string) member {
	return member{name: name, field: field, check: visibleText, required: true}
}

// Payway's formats come from its contract's table, with two differences that do not
// change their intent. \A and \z replace ^ and $, so that a value cannot end with a
// line feed. Letters of both cases are written out, because (?i) also accepts the
// Kelvin sign as a k and the long s as an s.
var (
	paywayID = pattern(`(?i-mx:^[a-f\\d]{24}$)`, `[a-fA-F0-9]{24}`)
	// The contract's example has each backslash twice, also inside of a JSON string,
	// so the value itself has two.
	paywayEmail = pattern(`(?i-mx:\\A[\\w+\\-.]+@[a-z\\d\\-]+(\\.[a-z]+)*\\.[a-z]+\\z)`,
		`[A-Za-z0-9_+\-.]+@[A-Za-z0-9\-]+(\.[A-Za-z]+)*\.[A-Za-z]+`)
	paywayMobile = pattern(`(?-mix:^[+,0]?[0-9]{10,12}$)`, `[+,0]?[0-9]{10,12}`)
	// The twelve digits and the Finnish form come from a later contract. They mean
	// nothing else here, so both versions accept them.
	paywaySocialSecurityNumber = pattern(`dddddd-dddd`, `[0-9]{6}-[0-9]{4}|[0-9]{12}`)
	paywayCompanyNumber        = pattern(`dddddd-dddd`, `[0-9]{6}-[0-9]{4}|[0-9]{7}-[0-9]`)
)

// maxText is the longest text, in characters.
const maxText = 1024

// pattern accepts texts of at most maxText characters that match the whole
// expression. The error contains shown.
func pattern(shown, expression string) format {
	whole := regexp.MustCompile(`\A(?:` + expression + `)\z`)
	return func(text string) (code, detail string) {
		if code, detail = shortText(text); code == "" && !whole.MatchString(text) {
			return commands.CodeInvalidFormat, "Parameter must match format " + shown
		}
		return code, detail
	}
}

// shortText accepts texts of at most maxText characters. It refuses control
// characters, although commands does too, so that answers list what is wrong in the
// order of the request. White space around a text does not count, because commands
// removes it.
func shortText(text string) (code, detail string) {
	text = strings.TrimSpace(text)
	if len(text) > maxText && utf8.RuneCountInString(text) > maxText {
		return commands.CodeTooLong, "Parameter must be at most 1024 characters"
	}
	if strings.ContainsFunc(text, unicode.IsControl) {
		return commands.CodeInvalidFormat, "Parameter must not contain control characters"
	}
	return "", ""
}

// visibleText accepts what shortText accepts, if it has a visible character.
func visibleText(text string) (code, detail string) {
	if commands.IsBlank(text) {
		return commands.CodeMustBeSet, "This member must be set."
	}
	return shortText(text)
}

// calendarDate accepts days that exist.
func calendarDate(text string) (code, detail string) {
	if _, err := time.Parse(time.DateOnly, text); err != nil || len(text) != len(time.DateOnly) {
		return commands.CodeInvalidFormat, "Parameter must match format YYYY-MM-DD"
	}
	return "", ""
}
