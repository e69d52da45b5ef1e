package http

import (
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"konto/commands"
)

// Payway's formats are those of its contract's table, with two differences
// that only make them mean what they say: \A and \z in place of ^ and $ (a line
// feed may not end a value), and letters of both cases written out, because
// (?i) would also take the Kelvin sign for a k and the long s for an s.
var (
	paywayID = pattern(`(?i-mx:^[a-f\\d]{24}$)`, `[a-fA-F0-9]{24}`)
	// The contract's example shows this text with each backslash twice, inside
	// a JSON string too, so the value itself has two.
	paywayEmail = pattern(`(?i-mx:\\A[\\w+\\-.]+@[a-z\\d\\-]+(\\.[a-z]+)*\\.[a-z]+\\z)`,
		`[A-Za-z0-9_+\-.]+@[A-Za-z0-9\-]+(\.[A-Za-z]+)*\.[A-Za-z]+`)
	paywayMobile = pattern(`(?-mix:^[+,0]?[0-9]{10,12}$)`, `[+,0]?[0-9]{10,12}`)
	// The twelve digits and the Finnish form are a later contract's; they mean
	// nothing else here, so both versions take them.
	paywaySocialSecurityNumber = pattern(`dddddd-dddd`, `[0-9]{6}-[0-9]{4}|[0-9]{12}`)
	paywayCompanyNumber        = pattern(`dddddd-dddd`, `[0-9]{6}-[0-9]{4}|[0-9]{7}-[0-9]`)
)

// maxText bounds a text, in characters.
const maxText = 1024

// pattern takes the texts of at most maxText characters that the expression
// matches as a whole; shown is what the developer who called is told.
func pattern(shown, expression string) format {
	whole := regexp.MustCompile(`\A(?:` + expression + `)\z`)
	return func(text string) (code, detail string) {
		if code, detail = short(text); code == "" && !whole.MatchString(text) {
			return commands.CodeInvalidFormat, "Parameter must match format " + shown
		}
		return code, detail
	}
}

// short takes texts of at most maxText characters. It refuses control characters
// although commands does too: answers list what is wrong in the order of the
// request. White space around a text does not count, as commands takes it off.
func short(text string) (code, detail string) {
	text = strings.TrimSpace(text)
	if len(text) > maxText && utf8.RuneCountInString(text) > maxText {
		return commands.CodeTooLong, "Parameter must be at most 1024 characters"
	}
	if strings.ContainsFunc(text, unicode.IsControl) {
		return commands.CodeInvalidFormat, "Parameter must not contain control characters"
	}
	return "", ""
}

// present takes what short takes, unless it shows nothing.
func present(text string) (code, detail string) {
	if commands.IsBlank(text) {
		return commands.CodeMustBeSet, "This member must be set."
	}
	return short(text)
}

// calendarDate takes a day that exists.
func calendarDate(text string) (code, detail string) {
	if _, err := time.Parse(time.DateOnly, text); err != nil || len(text) != len(time.DateOnly) {
		return commands.CodeInvalidFormat, "Parameter must match format YYYY-MM-DD"
	}
	return "", ""
}
