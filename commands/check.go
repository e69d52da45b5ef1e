package commands

import (
	"cmp"
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
	fieldSubject              = "/subject" // of an identity
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
// removed before. formatsDecided is Update.FormatsDecided.
func (c *checker) profile(u *events.ProfileUpdated, p events.Profile, formatsDecided bool) {
	// The rules of other fields depend on the account's type and country.
	c.field("/accountType", &u.AccountType, accountType)
	c.field("/countryCode", &u.CountryCode, country)
	kind := changed(u.AccountType, p.AccountType)
	home := cmp.Or(changed(u.CountryCode, p.CountryCode), defaultCountry)
	for i, change := range u.Texts() {
		field := events.TextPointers[i]
		if field == "/address/firstName" { // what is wrong is reported in this order
			c.identifier(&u.RegistrationIdentifier, p.RegistrationIdentifier, home, kind)
		}
		if change.To != "" {
			c.field(field, change, c.textRule(field, home, formatsDecided))
		}
	}
}

// textRule returns the rule that a text of the profile has besides the rule for all text, or nil.
// The numbers of an address are free text, because no contract gives them a format.
func (c *checker) textRule(field, home string, formatsDecided bool) rule {
	switch field {
	case "/countryCode", "/address/countryCode", "/address/citizenshipCountryCode":
		return country
	case "/birthDate":
		return birthDate(c.now)
	case "/languageCode":
		return languageTag
	case "/currencyCode":
		return currencyCode
	case "/timeZone":
		return timeZone
	case "/vatNumber":
		return vatNumber
	case "/phoneNumber":
		if formatsDecided {
			return phoneNumberIfReadable(home)
		}
		return phoneNumber(home)
	case fieldSocialSecurityNumber, "/companyRegistrationNumber":
		switch {
		case formatsDecided:
			return decidedNumber(c.now)
		case field == fieldSocialSecurityNumber:
			return socialSecurityNumber(c.now)
		}
		return companyRegistrationNumber(c.now)
	}
	return nil
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
