package commands

import (
	"strings"
	"time"
	_ "time/tzdata" // time zones are the same whatever the machine has installed

	"golang.org/x/text/currency"
	"golang.org/x/text/language"
)

// defaultCountry is where an account without a country is taken to be.
const defaultCountry = "SE"

// country is the rule for ISO 3166-1 alpha-2 codes.
func country(value string) (string, *fault) {
	value = strings.ToUpper(value)
	if len(value) != 2 || !isCountry(value) {
		return "", &fault{CodeInvalidValue, "The country must be a two-letter code of ISO 3166-1."}
	}
	return value, nil
}

// isCountry leaves out what the library knows beside the codes in force:
// groups, aliases (UK), and those that ISO 3166 withdrew or merely reserves.
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

// languageTag is the rule for BCP 47 tags, in their canonical form.
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

// currencyCode is the rule for ISO 4217 codes.
func currencyCode(value string) (string, *fault) {
	unit, err := currency.ParseISO(value)
	code := unit.String()
	// XXX is the code for no currency, XTS the one for tests.
	if err != nil || code == "XXX" || code == "XTS" {
		return "", &fault{CodeInvalidValue, "The currency must be a three-letter code of ISO 4217."}
	}
	return code, nil
}

// timeZone is the rule for IANA time zone names.
func timeZone(value string) (string, *fault) {
	if _, err := time.LoadLocation(value); err != nil || isLocalFile(value) {
		return "", &fault{CodeInvalidValue, "The time zone must be an IANA name such as Europe/Stockholm."}
	}
	return value, nil
}

// isLocalFile tells names that a machine's zoneinfo folder has besides IANA's
// own; what they mean depends on the machine.
func isLocalFile(name string) bool {
	switch name {
	case "Local", "localtime", "posixrules", "Factory":
		return true
	}
	return strings.HasPrefix(name, "posix/") || strings.HasPrefix(name, "right/")
}
