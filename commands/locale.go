package commands

import (
	_ "embed"
	"strings"

	"github.com/bojanz/currency"
	"golang.org/x/text/language"
)

// defaultCountry is where an account without a country is taken to be.
const defaultCountry = "SE"

// country is the rule for ISO 3166-1 alpha-2 codes.
func country(value string) (string, *fault) {
	value = upper(value)
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

// currencyCode is the rule for ISO 4217 codes in use: those of a country's or a
// union's money, and of its accounting units. Metals, bond units, drawing rights,
// XTS (for tests) and XXX (no currency) are codes too, but nobody pays in them.
func currencyCode(value string) (string, *fault) {
	value = upper(value)
	if !currency.IsValid(value) {
		return "", &fault{CodeInvalidValue, "The currency must be a three-letter code of ISO 4217 that is in use."}
	}
	return value, nil
}

// zoneNames lists the names of Go's embedded time zone database, links such as
// Asia/Calcutta included, one a line. Factory is left out: it means that no zone was chosen.
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

// timeZone is the rule for IANA time zone names. They are compared letter by
// letter with one list: time.LoadLocation would read files of the machine.
func timeZone(value string) (string, *fault) {
	if !zones[value] {
		return "", &fault{CodeInvalidValue, "The time zone must be an IANA name such as Europe/Stockholm."}
	}
	return value, nil
}
