package commands

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"konto/events"
)

// The form of Swedish numbers, and which numbers the tax agency issues, follows SKV 704
// (personal identity numbers), SKV 707 (co-ordination numbers) and SKV 709 (organisation
// numbers). The agency's own test data show that a co-ordination number has 00 for a month
// or a day of birth that is not known.
var (
	swedishForm = regexp.MustCompile(`^([0-9]{2})?([0-9]{6})([-+]?)([0-9]{4})$`)
	finnishForm = regexp.MustCompile(`^[0-9]{7}-[0-9]$`)
)

// swedishNumber is a personal identity number, a co-ordination number or an organisation
// number.
type swedishNumber struct {
	value string // in its stored form
	kind  string // events.IdentifierPersonal or events.IdentifierOrganisation
}

// readSwedishNumber parses a number with or without its century and separator, at a point
// in time. Its stored form is dddddd-dddd, or the twelve digits if those ten would mean
// another person (events.CenturyImplied).
//
// A number in the form dddddd-dddd has the contracts' documented format, and its check digit
// is not checked: HostUp's own example 850507-3412 has a wrong one. In every other notation
// the check digit must fit.
func readSwedishNumber(value string, now time.Time) (n swedishNumber, wrong *fault) {
	m := swedishForm.FindStringSubmatch(strings.ReplaceAll(plain(value), " ", ""))
	if m == nil {
		return n, &fault{CodeInvalidFormat, "The number must have the form dddddd-dddd, or 10 or 12 digits."}
	}
	century, separator, head, tail := m[1], m[3], m[2], m[4]
	n, ok := swedishNumberOf(century, separator, head, tail, now)
	if !ok {
		return n, &fault{CodeInvalidValue, "The number is neither a Swedish personal identity number nor an organisation number."}
	}
	documented := century == "" && separator == "-"
	if !documented && !luhn(head+tail) {
		return n, &fault{CodeInvalidValue, "The number's check digit does not fit."}
	}
	if !documented && n.kind == events.IdentifierPersonal && strings.HasPrefix(tail, "000") {
		return n, &fault{CodeInvalidValue, "The number has 000 behind its date, which is nobody's."}
	}
	return n, nil
}

// swedishNumberOf derives the kind from the two digits that are the month in a person's
// number: an organisation has 20 or more there. Authorities write 16 in front of an
// organisation's number. swedishNumberOf does not check the check digit.
func swedishNumberOf(century, separator, head, tail string, now time.Time) (n swedishNumber, ok bool) {
	n.value, n.kind = head+"-"+tail, events.IdentifierPersonal
	if head[2:4] >= "20" {
		n.kind = events.IdentifierOrganisation
		return n, (century == "" || century == "16") && separator != "+"
	}
	year := birthYear(century, separator, head, now)
	if year < earliestBirth || !isBirthday(year, head[2:4], head[4:6]) || hasNotCome(swedishBirth(year, head), now) {
		return n, false
	}
	if !events.CenturyImplied(year) {
		n.value = strconv.Itoa(year) + head[2:] + tail
	}
	return n, true
}

// birthYear is the year of birth that a person's number means, or 0 if it means none.
// Without its century a number means a person younger than a hundred years; a plus means a
// hundred years or more. The year counts, not the day: a person gets the plus on New Year's
// Day of the year of the hundredth birthday (18 § folkbokföringslagen).
func birthYear(century, separator, head string, now time.Time) int {
	this, inCentury := now.UTC().Add(14*time.Hour).Year(), number(head[:2])
	switch century {
	case "":
		year := this - (this-inCentury)%100
		if separator == "+" || hasNotCome(swedishBirth(year, head), now) {
			year -= 100
		}
		return year
	case "18", "19", "20":
		year := 100*number(century) + inCentury
		if separator == "+" && this-year < 100 {
			return 0
		}
		return year
	}
	return 0
}

// isBirthday reports whether a person's number can have that month and day. A co-ordination
// number has 60 added to its day. Its month, its day or both are 00 if they are not known.
func isBirthday(year int, month, day string) bool {
	m, d := number(month), number(day)
	if d >= 60 {
		d -= 60
		if m == 0 {
			return d <= 31
		}
	} else if d == 0 {
		return false
	}
	return 1 <= m && m <= 12 && d <= time.Date(year, time.Month(m)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// swedishBirth is the earliest day on which the person can have been born.
func swedishBirth(year int, head string) time.Time {
	return time.Date(year, time.Month(max(1, number(head[2:4]))), max(1, number(head[4:6])%60), 0, 0, 0, 0, time.UTC)
}

// number parses two digits.
func number(digits string) int { return 10*int(digits[0]-'0') + int(digits[1]-'0') }

// luhn reports whether the last digit is the check digit of the digits before it (ISO/IEC
// 7812-1, annex B).
func luhn(digits string) bool {
	sum := 0
	for i := range len(digits) {
		d := int(digits[len(digits)-1-i] - '0')
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}

// socialSecurityNumber is the rule for Payway's field of that name, unless a contract has
// decided its format.
func socialSecurityNumber(now time.Time) rule {
	return func(value string) (string, *fault) {
		n, wrong := readSwedishNumber(value, now)
		if wrong == nil && n.kind != events.IdentifierPersonal {
			wrong = &fault{CodeInvalidValue, "The number must be a personal identity number."}
		}
		return n.value, wrong
	}
}

// companyRegistrationNumber is the rule for Payway's field of that name, unless a contract
// has decided its format. A sole trader has the owner's own number. ddddddd-d is the Finnish
// form.
func companyRegistrationNumber(now time.Time) rule {
	return func(value string) (string, *fault) {
		if finnishForm.MatchString(value) {
			return value, nil
		}
		n, wrong := readSwedishNumber(value, now)
		return n.value, wrong
	}
}

// decidedNumber is the rule for both fields if the contract's own format has decided
// (Payway). That format has no check digit and no kind of number, so neither is checked. An
// impossible date of birth is still refused.
func decidedNumber(now time.Time) rule {
	return func(value string) (string, *fault) {
		m := swedishForm.FindStringSubmatch(value)
		if m == nil {
			return value, nil // the Finnish form
		}
		n, ok := swedishNumberOf(m[1], m[3], m[2], m[4], now)
		switch {
		case !ok:
			return "", &fault{CodeInvalidValue, "The number is neither a Swedish personal identity number nor an organisation number."}
		case m[1] != "": // it has its century already
			return value, nil
		}
		return n.value, nil
	}
}

// SocialSecurityNumberClaim is the claim on a social security number as a caller writes it,
// at a point in time.
func SocialSecurityNumberClaim(value string, now time.Time) events.Claim {
	if stored, wrong := decidedNumber(now)(value); wrong == nil {
		value = stored
	}
	return events.SocialSecurityNumberClaim(value)
}

var foreignIdentifier = regexp.MustCompile(`^[A-Z0-9][A-Z0-9 ./-]{0,31}$`)

// identifier checks HostUp's registration identifier and derives its type. present is the
// account's own identifier, home is the account's country and kind is its type.
func (c *checker) identifier(change *events.Change[events.RegistrationIdentifier], present events.RegistrationIdentifier, home, kind string) {
	given, before := change.To, len(c.wrong)
	if given == (events.RegistrationIdentifier{}) {
		return
	}
	value, issuer := events.Set(given.Value), events.Set(given.CountryCode)
	if issuer.To == "" {
		issuer.To = home
	}
	if value.To == present.Value && issuer.To == present.CountryCode {
		*change = events.Change[events.RegistrationIdentifier]{} // so its type is not derived again either
		return
	}
	c.requiredIfMade("/registrationIdentifier/value", &value, nil)
	c.field("/registrationIdentifier/countryCode", &issuer, country)
	if len(c.wrong) == before {
		stored, wrong := c.registrationIdentifier(value.To, issuer.To, kind)
		if wrong == nil {
			change.To = stored
			return
		}
		c.reject("/registrationIdentifier/value", wrong)
	}
	*change = events.Change[events.RegistrationIdentifier]{}
}

// registrationIdentifier derives the type of a Swedish number from the number, and the type
// of any other number from the account's type.
func (c *checker) registrationIdentifier(value, issuer, kind string) (events.RegistrationIdentifier, *fault) {
	id := events.RegistrationIdentifier{CountryCode: issuer, Type: events.IdentifierPersonal}
	if issuer == "SE" {
		n, wrong := readSwedishNumber(value, c.now)
		id.Value, id.Type = n.value, n.kind
		return id, wrong
	}
	if id.Value = upper(plain(value)); !foreignIdentifier.MatchString(id.Value) {
		return id, &fault{CodeInvalidFormat, "The identifier can have at most 32 letters, digits, spaces and . / - characters."}
	}
	if kind == events.TypeOrganisation {
		id.Type = events.IdentifierOrganisation
	}
	return id, nil
}
