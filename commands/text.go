package commands

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxText is the longest text of any field, in characters (Payway: "Size range: ..1024").
const maxText = 1024

// text is the rule for every textual field: white space around it goes, what
// is inside stays as it is.
func text(value string) (string, *fault) {
	if !utf8.ValidString(value) {
		return "", &fault{CodeInvalidFormat, "The text must be valid UTF-8."}
	}
	value = strings.TrimSpace(value)
	switch {
	case value == "":
		// To clear a field its caller sends null or "": blanks are a mistake.
		return "", &fault{CodeEmpty, "The text cannot consist of white space alone."}
	case utf8.RuneCountInString(value) > maxText:
		return "", &fault{CodeTooLong, "The text can have at most 1024 characters."}
	case strings.ContainsFunc(value, unicode.IsControl):
		return "", &fault{CodeInvalidFormat, "The text cannot contain control characters."}
	}
	return value, nil
}
