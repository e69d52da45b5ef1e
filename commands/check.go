package commands

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"konto/events"
)

// The fields whose values are unique over all accounts.
const (
	fieldEmail                = "/email"
	fieldSocialSecurityNumber = "/socialSecurityNumber"
	fieldPaywayID             = "/paywayId"
	fieldCustomerNumber       = "/customerNumber"
)

// defaultCountry is the country of an account that has none.
const defaultCountry = "SE"

// rule returns a value in the form in which it is stored, or what is wrong with it.
// The rule for all text was applied before.
type rule func(value string) (stored string, wrong *fault)

// fault is a FieldError without its field. The detail never holds the value.
type fault struct{ code, detail string }

// checker collects what is wrong with a command.
type checker struct {
	now   time.Time // when the command was given; no date of birth is later
	wrong []FieldError
}

func (c *checker) reject(field string, f *fault) {
	c.wrong = append(c.wrong, FieldError{Field: field, Code: f.code, Detail: f.detail})
}

// field checks one change: by the rule for all text, then by its own rule if it has one.
// A wrong change is removed. A change that clears the field is accepted, because the
// contracts decide which fields can be cleared.
func (c *checker) field(field string, change *events.Change[string], own rule) {
	if change.To == "" {
		return
	}
	stored, wrong := text(change.To)
	if wrong == nil && own != nil {
		stored, wrong = own(stored)
	}
	if wrong != nil {
		c.reject(field, wrong)
		*change = events.Change[string]{}
		return
	}
	change.To = stored
}

// requiredIfMade checks a change of a field that cannot be cleared.
func (c *checker) requiredIfMade(field string, change *events.Change[string], own rule) {
	if change.Made && change.To == "" {
		c.reject(field, &fault{CodeMustBeSet, "The field cannot be removed."})
		*change = events.Change[string]{}
		return
	}
	c.field(field, change, own)
}

// required checks a value that must be given.
func (c *checker) required(field string, value *string, own rule) {
	change := events.Set(*value)
	c.requiredIfMade(field, &change, own)
	*value = change.To
}

// profile checks the changes u of the profile p. Changes to values that p has already were
// removed before. The account's type and country come first, because the rules of other
// fields depend on them. formatsDecided is Update.FormatsDecided.
func (c *checker) profile(u *events.ProfileUpdated, p events.Profile, formatsDecided bool) {
	c.field("/accountType", &u.AccountType, accountType)
	c.field("/countryCode", &u.CountryCode, country)
	kind := changed(u.AccountType, p.AccountType)
	home := changed(u.CountryCode, p.CountryCode)
	if home == "" {
		home = defaultCountry
	}
	phone, person, company := phoneNumber(home), socialSecurityNumber(c.now), companyRegistrationNumber(c.now)
	if formatsDecided {
		phone, person, company = phoneNumberIfReadable(home), decidedNumber(c.now), decidedNumber(c.now)
	}
	c.field("/firstName", &u.FirstName, nil)
	c.field("/lastName", &u.LastName, nil)
	c.field("/companyName", &u.CompanyName, nil)
	c.field("/alias", &u.Alias, nil)
	c.field("/accountOrigin", &u.AccountOrigin, nil)
	c.field("/birthDate", &u.BirthDate, birthDate(c.now))
	c.field("/phoneNumber", &u.PhoneNumber, phone)
	c.field("/languageCode", &u.LanguageCode, languageTag)
	c.field("/currencyCode", &u.CurrencyCode, currencyCode)
	c.field("/timeZone", &u.TimeZone, timeZone)
	c.field("/vatNumber", &u.VATNumber, vatNumber)
	c.field("/invoiceReference", &u.InvoiceReference, nil)
	c.field(fieldCustomerNumber, &u.CustomerNumber, nil)
	c.field(fieldSocialSecurityNumber, &u.SocialSecurityNumber, person)
	c.field("/companyRegistrationNumber", &u.CompanyRegistrationNumber, company)
	c.identifier(&u.RegistrationIdentifier, p.RegistrationIdentifier, home, kind)
	c.address(&u.Address)
}

// address checks the members of an address. Its numbers are free text, because no contract
// gives them a format.
func (c *checker) address(a *events.AddressUpdated) {
	c.field("/address/firstName", &a.FirstName, nil)
	c.field("/address/lastName", &a.LastName, nil)
	c.field("/address/street", &a.Street, nil)
	c.field("/address/streetNumber", &a.StreetNumber, nil)
	c.field("/address/building", &a.Building, nil)
	c.field("/address/staircase", &a.Staircase, nil)
	c.field("/address/floor", &a.Floor, nil)
	c.field("/address/apartmentNumber", &a.ApartmentNumber, nil)
	c.field("/address/careOf", &a.CareOf, nil)
	c.field("/address/dropbox", &a.Dropbox, nil)
	c.field("/address/postalCode", &a.PostalCode, nil)
	c.field("/address/city", &a.City, nil)
	c.field("/address/state", &a.State, nil)
	c.field("/address/countryCode", &a.CountryCode, country)
	c.field("/address/citizenshipCountryCode", &a.CitizenshipCountryCode, country)
	c.field("/address/mobileNumber", &a.MobileNumber, nil)
	c.field("/address/phoneNumber", &a.PhoneNumber, nil)
	c.field("/address/companyName", &a.CompanyName, nil)
	c.field("/address/companyReference", &a.CompanyReference, nil)
	c.field("/address/companyDepartment", &a.CompanyDepartment, nil)
	c.field("/address/companyCrn", &a.CompanyCRN, nil)
	c.field("/address/companyVatNumber", &a.CompanyVATNumber, nil)
}

// maxText is the longest text of any field, in characters (Payway: "Size range: ..1024").
const maxText = 1024

// text is the rule for every text field. It trims white space around the text and leaves
// the text itself as it is.
func text(value string) (string, *fault) {
	if !utf8.ValidString(value) {
		return "", &fault{CodeInvalidFormat, "The text must be valid UTF-8."}
	}
	value = strings.TrimSpace(value)
	switch {
	case IsBlank(value):
		// A field is cleared by null or "", so blanks are a mistake.
		return "", &fault{CodeEmpty, "The text must have a visible character."}
	case utf8.RuneCountInString(value) > maxText:
		return "", &fault{CodeTooLong, "The text can have at most 1024 characters."}
	case strings.ContainsFunc(value, breaksLines):
		return "", &fault{CodeInvalidFormat, "The text cannot contain control characters or line separators."}
	}
	return value, nil
}

// IsBlank reports whether a text is empty or all of its characters are invisible.
func IsBlank(text string) bool {
	for _, r := range text {
		if !isInvisible(r) {
			return false
		}
	}
	return true
}

// isInvisible reports whether a character shows nothing by itself: white space, control
// and format characters, marks without a base letter, what Unicode calls default ignorable
// (variation selectors, tags, the Hangul fillers), and the few letters and symbols that
// are blank by design.
func isInvisible(r rune) bool {
	if '!' <= r && r <= '~' {
		return false
	}
	return isBlankSymbol(r) || unicode.In(r, unicode.Z, unicode.Cc, unicode.Cf, unicode.M,
		unicode.Other_Default_Ignorable_Code_Point, unicode.Noncharacter_Code_Point)
}

// isBlankSymbol reports whether a character is a letter or symbol that is blank by design.
func isBlankSymbol(r rune) bool {
	switch r {
	case '\u2800', // BRAILLE PATTERN BLANK
		'\uFFFC',                   // OBJECT REPLACEMENT CHARACTER
		'\U00013441', '\U00013442', // EGYPTIAN HIEROGLYPH FULL BLANK, HALF BLANK
		'\U0001D159': // MUSICAL SYMBOL NULL NOTEHEAD
		return true
	}
	return false
}

// breaksLines reports whether a character is one that no text may contain, because it
// breaks lines, moves a terminal's cursor or ends a text.
func breaksLines(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }

// upper is strings.ToUpper for ASCII only. Codes are ASCII, and Unicode would turn other
// letters (ı, ſ) into ASCII ones.
func upper(value string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' {
			return r - 'a' + 'A'
		}
		return r
	}, value)
}

// plain returns a number in ASCII. Word processors, web pages and phones write dashes and
// spaces of other lengths and full-width characters. Characters that only set the text's
// direction or font are removed, and then the spaces between them and the number.
func plain(value string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r < 0x80:
			return r
		case r == '\u2212' || unicode.Is(unicode.Pd, r): // MINUS SIGN, and the dashes
			return '-'
		case unicode.Is(unicode.Zs, r):
			return ' '
		case '\uFF01' <= r && r <= '\uFF5E':
			return r - '\uFF01' + '!'
		case unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point):
			return -1
		}
		return r
	}, value))
}
