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
	case IsBlank(value):
		// To clear a field its caller sends null or "": blanks are a mistake.
		return "", &fault{CodeEmpty, "The text must have a visible character."}
	case utf8.RuneCountInString(value) > maxText:
		return "", &fault{CodeTooLong, "The text can have at most 1024 characters."}
	case strings.ContainsFunc(value, breaksLines):
		return "", &fault{CodeInvalidFormat, "The text cannot contain control characters or line separators."}
	}
	return value, nil
}

// IsBlank tells whether a text shows nothing: it is empty, or all of its
// characters are invisible.
func IsBlank(text string) bool {
	for _, r := range text {
		if !isInvisible(r) {
			return false
		}
	}
	return true
}

// isInvisible tells characters that show nothing by themselves: white space,
// control and format characters, marks without a letter to stand on, what Unicode
// calls default ignorable (variation selectors, tags, the Hangul fillers), and
// the few letters and symbols that are blank by design.
func isInvisible(r rune) bool {
	if '!' <= r && r <= '~' {
		return false
	}
	switch r {
	case '\u2800', // BRAILLE PATTERN BLANK
		'\uFFFC',                   // OBJECT REPLACEMENT CHARACTER
		'\U00013441', '\U00013442', // EGYPTIAN HIEROGLYPH FULL BLANK, HALF BLANK
		'\U0001D159': // MUSICAL SYMBOL NULL NOTEHEAD
		return true
	}
	return unicode.In(r, unicode.Z, unicode.Cc, unicode.Cf, unicode.M,
		unicode.Other_Default_Ignorable_Code_Point, unicode.Noncharacter_Code_Point)
}

// breaksLines tells the characters that no text may have inside: they break
// lines, move a terminal's cursor, or end a text.
func breaksLines(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }

// upper is strings.ToUpper for ASCII alone: codes are ASCII, and Unicode would
// turn letters that are not (ı, ſ) into some that are.
func upper(value string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' {
			return r - 'a' + 'A'
		}
		return r
	}, value)
}

// plain brings what word processors, web pages and phones make of a number back
// to ASCII: dashes of all lengths, spaces of all widths, full-width characters.
// Characters that only direct the text, or the font, go, and then the spaces that
// stand between them and the number.
func plain(value string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r < 0x80:
			return r
		case r == '\u2212' || unicode.Is(unicode.Pd, r): // MINUS SIGN, and the dashes
			return '-'
		case unicode.Is(unicode.Zs, r):
			return ' '
		case '\uFF01' <= r && r <= '\uFF5E':
			return r - '\uFF01' + '!'
		case unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point):
			return -1
		}
		return r
	}, value))
}
