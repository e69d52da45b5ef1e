package commands

import (
	"regexp"

	"konto/events"
)

var (
	swedishForm = regexp.MustCompile(`^([0-9]{2})?([0-9]{6})([-+]?)([0-9]{4})$`)
	finnishForm = regexp.MustCompile(`^[0-9]{7}-[0-9]$`)
)

// swedishNumber reads a personal identity number, a co-ordination number or an
// organisation number, with or without its century and separator. It returns the
// form dddddd-dddd and the type, events.IdentifierPersonal or
// events.IdentifierOrganisation.
//
// A number that arrives as dddddd-dddd has the contracts' documented format,
// which decides: HostUp's own example 850507-3412 has a wrong check digit. In
// every other notation the check digit must fit (Luhn over the ten digits).
func swedishNumber(value string) (canonical, kind string, wrong *fault) {
	m := swedishForm.FindStringSubmatch(value)
	if m == nil {
		return "", "", &fault{CodeInvalidFormat, "The number must have the form dddddd-dddd, or 10 or 12 digits."}
	}
	century, head, separator, tail := m[1], m[2], m[3], m[4]
	kind = swedishKind(head)
	if kind == "" || !swedishCentury(kind, century) {
		return "", "", &fault{CodeInvalidValue, "The number is neither a Swedish personal identity number nor an organisation number."}
	}
	documented := century == "" && separator == "-"
	if !documented && !luhn(head+tail) {
		return "", "", &fault{CodeInvalidValue, "The number's check digit does not fit."}
	}
	return head + "-" + tail, kind, nil
}

// swedishKind tells the type by the two digits where a person's number has the
// month: an organisation's are 20 or more. A co-ordination number has 60 added
// to its day.
func swedishKind(yymmdd string) string {
	month, day := yymmdd[2:4], yymmdd[4:6]
	switch {
	case month >= "20":
		return events.IdentifierOrganisation
	case month < "01" || month > "12":
		return ""
	case day >= "01" && day <= "31", day >= "61" && day <= "91":
		return events.IdentifierPersonal
	}
	return ""
}

// swedishCentury tells whether the two digits may stand before a number of that
// type: authorities write organisation numbers with 16 in front.
func swedishCentury(kind, century string) bool {
	switch century {
	case "":
		return true
	case "16":
		return kind == events.IdentifierOrganisation
	case "18", "19", "20":
		return kind == events.IdentifierPersonal
	}
	return false
}

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
func socialSecurityNumber(value string) (string, *fault) {
	canonical, kind, wrong := swedishNumber(value)
	if wrong == nil && kind != events.IdentifierPersonal {
		wrong = &fault{CodeInvalidValue, "The number must be a personal identity number."}
	}
	return canonical, wrong
}

// companyRegistrationNumber is the rule for Payway's field of that name where
// no contract has decided its format. A sole trader's is the owner's own number;
// ddddddd-d is the Finnish form.
func companyRegistrationNumber(value string) (string, *fault) {
	if finnishForm.MatchString(value) {
		return value, nil
	}
	canonical, _, wrong := swedishNumber(value)
	return canonical, wrong
}
