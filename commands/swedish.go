package commands

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"konto/events"
)

// What Swedish numbers look like, and which ones are handed out, is from the tax
// agency: SKV 704 (personal identity numbers), SKV 707 (co-ordination numbers)
// and SKV 709 (organisation numbers). That a co-ordination number has 00 where
// the month or the day of birth is not known follows from the agency's own test data.
var (
	swedishForm = regexp.MustCompile(`^([0-9]{2})?([0-9]{6})([-+]?)([0-9]{4})$`)
	finnishForm = regexp.MustCompile(`^[0-9]{7}-[0-9]$`)
)

// swedishNumber is a personal identity number, a co-ordination number or an
// organisation number.
type swedishNumber struct {
	value string // in its stored form
	kind  string // events.IdentifierPersonal or events.IdentifierOrganisation
}

// readSwedishNumber reads a number with or without its century and separator, at
// a point in time. Its stored form is dddddd-dddd, or the twelve digits where
// those ten would be read as another person's (events.CenturyImplied).
//
// A number that arrives as dddddd-dddd has the contracts' documented format,
// which decides: HostUp's own example 850507-3412 has a wrong check digit. In
// every other notation the check digit must fit.
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

// swedishNumberOf tells the kind by the two digits where a person's number has
// the month: an organisation's are 20 or more. Authorities write 16 in front of
// an organisation's number. It does not look at the check digit.
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

// birthYear is the year that a person's number stands for, 0 if it stands for
// none. Without its century a number is that of somebody younger than a hundred;
// a plus stands for a hundred years or more. The year counts, not the day: a person gets the plus
// on New Year's Day of the year of the hundredth birthday (18 § folkbokföringslagen).
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

// isBirthday tells whether a person's number can have that month and day. A
// co-ordination number has 60 added to its day; its month, its day or both are
// 00 when they are not known.
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

// swedishBirth is the first day on which the person can be born.
func swedishBirth(year int, head string) time.Time {
	return time.Date(year, time.Month(max(1, number(head[2:4]))), max(1, number(head[4:6])%60), 0, 0, 0, 0, time.UTC)
}

// number reads two digits.
func number(digits string) int { return 10*int(digits[0]-'0') + int(digits[1]-'0') }

// luhn tells whether the last digit is the check digit of those before it
// (ISO/IEC 7812-1, annex B).
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

// socialSecurityNumber is the rule for Payway's field of that name where no
// contract has decided its format.
func socialSecurityNumber(now time.Time) rule {
	return func(value string) (string, *fault) {
		n, wrong := readSwedishNumber(value, now)
		if wrong == nil && n.kind != events.IdentifierPersonal {
			wrong = &fault{CodeInvalidValue, "The number must be a personal identity number."}
		}
		return n.value, wrong
	}
}

// companyRegistrationNumber is the rule for Payway's field of that name where
// no contract has decided its format. A sole trader's is the owner's own number;
// ddddddd-d is the Finnish form.
func companyRegistrationNumber(now time.Time) rule {
	return func(value string) (string, *fault) {
		if finnishForm.MatchString(value) {
			return value, nil
		}
		n, wrong := readSwedishNumber(value, now)
		return n.value, wrong
	}
}

// decidedNumber is the rule for both fields where the contract's own format has
// decided (Payway). The format says nothing of a check digit or of whose number it is, so
// neither is looked at. A date of birth that cannot be is still refused.
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

// SocialSecurityNumberClaim is the claim on a social security number as a caller
// writes it, at a point in time.
func SocialSecurityNumberClaim(value string, now time.Time) events.Claim {
	if stored, wrong := decidedNumber(now)(value); wrong == nil {
		value = stored
	}
	return events.SocialSecurityNumberClaim(value)
}
