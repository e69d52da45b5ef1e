package commands

import (
	"regexp"
	"strings"
)

var vatForm = regexp.MustCompile(`^[A-Z]{2}[A-Z0-9]{2,18}$`)

// vatNumber is the rule for VAT numbers: a country's two letters and what that
// country puts behind them. Spaces are how people group the digits.
func vatNumber(value string) (string, *fault) {
	value = strings.ToUpper(strings.ReplaceAll(value, " ", ""))
	if !vatForm.MatchString(value) {
		return "", &fault{CodeInvalidFormat, "The VAT number must be two letters followed by 2 to 18 letters and digits."}
	}
	return value, nil
}
