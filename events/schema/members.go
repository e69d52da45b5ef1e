package schema

import "github.com/google/jsonschema-go/jsonschema"

// patternULID is the form of a ULID: 26 digits of Crockford's base 32.
const patternULID = "^[0-7][0-9A-HJKMNP-TV-Z]{25}$"

// member describes a member of a published type: its meaning, and what its Go type does not say
// about its values.
type member struct {
	about, pattern, format string
	minimum                *float64
	values                 []any // all possible values
}

// fill completes the member's schema.
func (m member) fill(s *jsonschema.Schema) {
	s.Description, s.Enum, s.Minimum = m.about, m.values, m.minimum
	if m.pattern != "" {
		s.Pattern = m.pattern
	}
	if m.format != "" {
		s.Format = m.format
	}
}

func text(about string) member { return member{about: about} }

func oneOf(about string, values ...any) member { return member{about: about, values: values} }

func country(about string) member {
	return member{about: about + " ISO 3166-1 alpha-2.", pattern: "^[A-Z]{2}$"}
}

// email describes an address that konto accepts. It has no format: "email" has no å, many
// validators do not know "idn-email", and both refuse addresses that are in use.
func email(about string) member {
	return member{about: about, pattern: `^[^@\s]+@[^@\s.]+(\.[^@\s.]+)+$`}
}

// count describes a number of things.
func count(about string) member { return member{about: about, minimum: new(0.0)} }

// members describes each member of each published type. It has a rule only if the rule is true for
// every account. For example, a phone number that Payway's own format accepts need not be E.164.
var members = map[string]member{
	"AccountOpened.email":         email("The account's email address. Unique."),
	"AccountOpened.paywayId":      {about: "Payway's id of the account. Unique.", pattern: "^[0-9a-f]{24}$"},
	"AccountOpened.administrator": text("Whether the account is an administrator's. Absent: no."),
	"AccountOpened.profile":       text("The profile, as changes to an empty one."),

	"EmailChanged.previousEmail": email("The address until now."),
	"EmailChanged.newEmail":      email("The address from now on. Unique."),
	"EmailChanged.how":           oneOf("direct: set by a caller that may set it. verified: confirmed with the code that the user asked for.", "direct", "verified"),

	"PublishedEmailChangeRequested.newEmail":  email("The requested address."),
	"PublishedEmailChangeRequested.request":   text("The request's id."),
	"PublishedEmailChangeRequested.expiresAt": text("Until when the request can be confirmed. UTC."),

	"EmailChangeAttemptFailed.request": text("The request that the code was tried for."),
	"EmailChangeCancelled.newEmail":    email("The requested address."),

	"FactsRecorded.activeDomains": count("How many active domains the account has."),
	"FactsRecorded.seNuDomains":   count("How many of them are under .se and .nu."),
	"FactsRecorded.pendingOrder":  text("The pending order. null: none."),
	"FactsRecorded.verified":      text("Whether the identity is verified, by BankID or the like."),
	"FactsRecorded.bankidName":    text("The name according to BankID. null: none."),

	"ProfileUpdated.firstName":                 text("A person's first name."),
	"ProfileUpdated.lastName":                  text("A person's last name."),
	"ProfileUpdated.companyName":               text("An organisation's name."),
	"ProfileUpdated.alias":                     text("The name by which the user wants to be called."),
	"ProfileUpdated.accountType":               oneOf("Whose account it is.", "private", "organisation", nil),
	"ProfileUpdated.accountOrigin":             text("Where the account came from."),
	"ProfileUpdated.birthDate":                 {about: "YYYY-MM-DD.", format: "date"},
	"ProfileUpdated.phoneNumber":               text("E.164, as far as it could be normalised."),
	"ProfileUpdated.countryCode":               country("The account's country."),
	"ProfileUpdated.languageCode":              text("The account's language. BCP 47."),
	"ProfileUpdated.currencyCode":              {about: "The account's currency. ISO 4217.", pattern: "^[A-Z]{3}$"},
	"ProfileUpdated.timeZone":                  text("IANA name, such as Europe/Stockholm."),
	"ProfileUpdated.vatNumber":                 text("VAT number, with its country's letters in front."),
	"ProfileUpdated.invoiceReference":          text("The reference on invoices."),
	"ProfileUpdated.customerNumber":            text("The subscription system's number. Unique."),
	"ProfileUpdated.socialSecurityNumber":      text("Payway's number of a person: 850507-3412 or twelve digits. Unique."),
	"ProfileUpdated.companyRegistrationNumber": text("Payway's number of a company."),
	"ProfileUpdated.registrationIdentifier":    text("HostUp's organisation number or personal identifier."),
	"ProfileUpdated.address":                   text("The members of the address that changed."),

	"RegistrationIdentifier.value":       text("In its canonical form. In Sweden 850507-3412, or twelve digits for people born before 1927 or after 2026."),
	"RegistrationIdentifier.countryCode": country("The country that issued it."),
	"RegistrationIdentifier.type":        oneOf("The kind of identifier.", "personal_identifier", "organisation_number"),

	"AddressUpdated.firstName":              text("First name of the person who lives there."),
	"AddressUpdated.lastName":               text("Last name of the person who lives there."),
	"AddressUpdated.street":                 text("Street."),
	"AddressUpdated.streetNumber":           text("Number in the street."),
	"AddressUpdated.building":               text("Building."),
	"AddressUpdated.staircase":              text("Staircase."),
	"AddressUpdated.floor":                  text("Floor."),
	"AddressUpdated.apartmentNumber":        text("Apartment number."),
	"AddressUpdated.careOf":                 text("Care of."),
	"AddressUpdated.dropbox":                text("Post office box."),
	"AddressUpdated.postalCode":             text("Postal code."),
	"AddressUpdated.city":                   text("City."),
	"AddressUpdated.state":                  text("State or province."),
	"AddressUpdated.countryCode":            country("The address's country."),
	"AddressUpdated.citizenshipCountryCode": country("The country that the person is a citizen of."),
	"AddressUpdated.mobileNumber":           text("Mobile number, free text."),
	"AddressUpdated.phoneNumber":            text("Phone number, free text."),
	"AddressUpdated.companyName":            text("Company at the address."),
	"AddressUpdated.companyReference":       text("Contact in the company."),
	"AddressUpdated.companyDepartment":      text("Department of the company."),
	"AddressUpdated.companyCrn":             text("The company's registration number."),
	"AddressUpdated.companyVatNumber":       text("The company's VAT number."),
}
