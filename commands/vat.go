package commands

import (
	"regexp"
	"strings"
)

// vatForm is a country's two letters and what that country puts behind them.
// In Irish and Dutch numbers a character can also be + or * (VIES, FAQ 11).
var vatForm = regexp.MustCompile(`^(?:[A-Z]{2}[A-Z0-9]{2,18}|(?:IE|NL)[A-Z0-9+*]{2,18})$`)

// swissVAT is a Swiss number. It ends in the words for VAT in one of three
// languages, or in none of them, and is the same number.
var swissVAT = regexp.MustCompile(`^(CHE[0-9]{9})(?:MWST|TVA|IVA)$`)

// vatGrouping is what people group the digits with.
var vatGrouping = strings.NewReplacer(" ", "", ".", "", "-", "")

// vatNumber is the rule for VAT numbers. They are stored without what groups
// the digits. Greek numbers begin with EL, although the country's code is GR.
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
