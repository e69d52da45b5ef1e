package commands

import (
	_ "embed"
	"net/mail"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/bojanz/currency"
	"github.com/nyaruka/phonenumbers"
	"golang.org/x/text/language"

	"konto/events"
)

// maxEmail is the longest email address in bytes (Payway: "Size range: ..1024"). RFC 5321
// allows 254, and 64 before the @, but Payway's contract documents more. The limits of the
// DNS on the domain apply.
const maxEmail = 1024

var (
	notAnAddress = &fault{CodeInvalidFormat, "The email address must have the form name@domain.example."}
	noSuchDomain = &fault{CodeInvalidFormat, "The email address's domain cannot exist."}
	unseenInside = &fault{CodeInvalidFormat, "The email address cannot contain invisible, formatting, private or unassigned characters."}
)

// emailAddress is the rule for email addresses of every contract: an addr-spec of RFC 5322
// and 6532 without quotes and comments, in a domain of at least two labels that can be
// looked up. It returns the address as it was written. events.EmailClaim decides which
// spellings are one address.
func emailAddress(value string) (string, *fault) {
	if len(value) > maxEmail {
		return "", &fault{CodeTooLong, "The email address can have at most 1024 bytes."}
	}
	if strings.ContainsFunc(value, isUnseen) {
		return "", unseenInside
	}
	// The parser also accepts <a@b.se>, "a"@b.se, a@b.se (comment) and the like, but
	// then it returns another text.
	written, err := mail.ParseAddress(value)
	if err != nil || written.Address != value {
		return "", notAnAddress
	}
	local, domain, _ := strings.Cut(value, "@")
	// Mail programs decode an encoded word (RFC 2047), which gives another address.
	if strings.Contains(local, "=?") || !strings.Contains(domain, ".") {
		return "", notAnAddress
	}
	ascii, err := events.ASCIIDomain(domain)
	// A top-level domain has a letter (RFC 3696). Otherwise the domain is an IP address or ends in a dot.
	if err != nil || strings.Trim(ascii[strings.LastIndexByte(ascii, '.')+1:], "0123456789") == "" {
		return "", noSuchDomain
	}
	return value, nil
}

// isUnseen reports whether readers cannot see which character this is: control, format and
// bidi characters, blanks, what Unicode says to ignore by default (such as variation
// selectors and fillers), private and unassigned characters.
func isUnseen(r rune) bool {
	return r > unicode.MaxASCII && (!unicode.IsPrint(r) || isBlankSymbol(r) ||
		unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector))
}

// writtenPhone is how people write phone numbers. Google's rules also accept letters,
// addresses and text around a number.
var writtenPhone = regexp.MustCompile(`^\+?[0-9 ()./-]+$`)

// phoneNumber is the rule for phone numbers. They are stored in E.164, as the port of
// libphonenumber normalizes them. A number without a country code belongs to the region.
func phoneNumber(region string) rule {
	return func(value string) (string, *fault) {
		value = plain(value)
		if !writtenPhone.MatchString(value) {
			return "", &fault{CodeInvalidFormat, "The phone number can contain digits, spaces and ( ) . / - after an optional +."}
		}
		number, err := phonenumbers.Parse(value, region)
		if err != nil {
			return "", &fault{CodeInvalidFormat, "The phone number cannot be read as an international or national number."}
		}
		// The strictest check of the library: assigned ranges, not only the length.
		if !phonenumbers.IsValidNumber(number) {
			return "", &fault{CodeInvalidValue, "The phone number is not a valid one in its country."}
		}
		return phonenumbers.Format(number, phonenumbers.E164), nil
	}
}

// phoneNumberIfReadable is the rule if the contract's own format has accepted the number:
// a number that cannot be normalized is stored as given.
func phoneNumberIfReadable(region string) rule {
	normalize := phoneNumber(region)
	return func(value string) (string, *fault) {
		if stored, wrong := normalize(value); wrong == nil {
			return stored, nil
		}
		return value, nil
	}
}

// earliestBirth is the first year of birth of a person who can have an account. The oldest
// person known lived 122 years.
const earliestBirth = 1850

// birthDate is the rule for dates of birth, at a point in time.
func birthDate(now time.Time) rule {
	return func(value string) (string, *fault) {
		born, err := time.Parse(time.DateOnly, value)
		if err != nil {
			return "", &fault{CodeInvalidFormat, "The date must be one of the calendar, in the form YYYY-MM-DD."}
		}
		if born.Year() < earliestBirth || hasNotCome(born, now) {
			return "", &fault{CodeInvalidValue, "The date of birth cannot be before 1850 or in the future."}
		}
		return value, nil
	}
}

// hasNotCome reports whether a day has begun nowhere yet. The first time zone is 14 hours
// ahead of UTC.
func hasNotCome(day, now time.Time) bool { return day.After(now.UTC().Add(14 * time.Hour)) }

var (
	// vatForm is a country's two letters and what that country puts after them. In Irish
	// and Dutch numbers a character can also be + or * (VIES, FAQ 11).
	vatForm = regexp.MustCompile(`^(?:[A-Z]{2}[A-Z0-9]{2,18}|(?:IE|NL)[A-Z0-9+*]{2,18})$`)
	// swissVAT is a Swiss number with the word for VAT in one of three languages after
	// it. Without that word it is the same number.
	swissVAT = regexp.MustCompile(`^(CHE[0-9]{9})(?:MWST|TVA|IVA)$`)
	// vatGrouping removes what people group the digits with.
	vatGrouping = strings.NewReplacer(" ", "", ".", "", "-", "")
)

// vatNumber is the rule for VAT numbers. They are stored without grouping. Greek numbers
// begin with EL, although the country's code is GR.
func vatNumber(value string) (string, *fault) {
	value = vatGrouping.Replace(upper(plain(value)))
	if !vatForm.MatchString(value) {
		return "", &fault{CodeInvalidFormat, "The VAT number must be two letters followed by 2 to 18 letters and digits."}
	}
	if swiss := swissVAT.FindStringSubmatch(value); swiss != nil {
		return swiss[1], nil
	}
	if digits, greek := strings.CutPrefix(value, "GR"); greek {
		return "EL" + digits, nil
	}
	return value, nil
}

// accountType is the rule for the account's type.
func accountType(value string) (string, *fault) {
	if value != events.TypePrivate && value != events.TypeOrganisation {
		return "", &fault{CodeInvalidValue, "The account type is either private or organisation."}
	}
	return value, nil
}

var paywayID = regexp.MustCompile(`^[0-9a-f]{24}$`)

// paywayIDForm is the rule for Payway's account id: 24 hex digits.
func paywayIDForm(value string) (string, *fault) {
	value = strings.ToLower(value)
	if !paywayID.MatchString(value) {
		return "", &fault{CodeInvalidFormat, "The id must be 24 hexadecimal digits."}
	}
	return value, nil
}

// country is the rule for ISO 3166-1 alpha-2 codes.
func country(value string) (string, *fault) {
	value = upper(value)
	if len(value) != 2 || !isCountry(value) {
		return "", &fault{CodeInvalidValue, "The country must be a two-letter code of ISO 3166-1."}
	}
	return value, nil
}

// isCountry reports whether a code is in force. The library also knows groups, aliases
// (UK), and codes that ISO 3166 withdrew or only reserves.
func isCountry(code string) bool {
	region, err := language.ParseRegion(code)
	if err != nil || !region.IsCountry() || region.Canonicalize() != region {
		return false
	}
	switch code {
	case "AN", "CS", "FQ", "NT", "PC", "SU", "YU", // withdrawn
		"AC", "CP", "CQ", "DG", "EA", "EZ", "IC", "TA", "UN": // reserved
		return false
	}
	return true
}

// languageTag is the rule for BCP 47 tags. They are stored in their canonical form.
func languageTag(value string) (string, *fault) {
	tag, err := language.Parse(value)
	if _, unknown := err.(language.ValueError); unknown {
		return "", &fault{CodeInvalidValue, "The language tag holds a subtag that is not registered."}
	}
	if err != nil {
		return "", &fault{CodeInvalidFormat, "The language must be a BCP 47 tag such as sv or pt-BR."}
	}
	// A tag without a language of its own: und, or one for private use.
	if _, confidence := tag.Base(); confidence != language.Exact {
		return "", &fault{CodeInvalidValue, "The language tag must name a language."}
	}
	return tag.String(), nil
}

// currencyCode is the rule for ISO 4217 codes that are in use: the money of a country or a
// union, and its accounting units. Metals, bond units, drawing rights, XTS (for tests) and
// XXX (no currency) have codes too, but nobody pays in them.
func currencyCode(value string) (string, *fault) {
	value = upper(value)
	if !currency.IsValid(value) {
		return "", &fault{CodeInvalidValue, "The currency must be a three-letter code of ISO 4217 that is in use."}
	}
	return value, nil
}

// zoneNames lists the names of Go's embedded time zone database, one a line, with links
// such as Asia/Calcutta. Factory is left out: it means that no zone was chosen.
//
//go:embed zones.txt
var zoneNames string

var zones = func() map[string]bool {
	names := map[string]bool{}
	for name := range strings.Lines(zoneNames) {
		names[strings.TrimSpace(name)] = true
	}
	return names
}()

// timeZone is the rule for IANA time zone names. They are compared with one list, because
// time.LoadLocation would read files of the machine.
func timeZone(value string) (string, *fault) {
	if !zones[value] {
		return "", &fault{CodeInvalidValue, "The time zone must be an IANA name such as Europe/Stockholm."}
	}
	return value, nil
}
