package commands

import (
	"net/mail"
	"strings"
	"unicode"

	"konto/events"
)

// maxEmail is the longest email address in bytes (Payway: "Size range: ..1024"). RFC 5321
// allows 254, and 64 before the @, but Payway's contract documents more. The domain's own
// limits of the DNS hold.
const maxEmail = 1024

var (
	notAnAddress = &fault{CodeInvalidFormat, "The email address must have the form name@domain.example."}
	noSuchDomain = &fault{CodeInvalidFormat, "The email address's domain cannot exist."}
	unseenInside = &fault{CodeInvalidFormat, "The email address cannot contain invisible, formatting, private or unassigned characters."}
)

// emailAddress is the rule for email addresses, whichever contract they come through: an
// addr-spec of RFC 5322 and 6532 with neither quotes nor comments, in a domain of at least
// two labels that can be looked up. It returns what was written: which spellings are one
// address is events.EmailClaim's matter.
func emailAddress(value string) (string, *fault) {
	if len(value) > maxEmail {
		return "", &fault{CodeTooLong, "The email address can have at most 1024 bytes."}
	}
	if strings.ContainsFunc(value, isUnseen) {
		return "", unseenInside
	}
	// The parser also takes <a@b.se>, "a"@b.se, a@b.se (comment) and the like, and then
	// gives another text back.
	written, err := mail.ParseAddress(value)
	if err != nil || written.Address != value {
		return "", notAnAddress
	}
	local, domain, _ := strings.Cut(value, "@")
	// Mail programs decode what looks like an encoded word (RFC 2047), to another address.
	if strings.Contains(local, "=?") {
		return "", notAnAddress
	}
	if !strings.Contains(domain, ".") {
		return "", notAnAddress
	}
	ascii, err := events.ASCIIDomain(domain)
	// A top-level domain has a letter (RFC 3696): what has none is an IP address, or a dot at the end.
	if err != nil || strings.Trim(ascii[strings.LastIndexByte(ascii, '.')+1:], "0123456789") == "" {
		return "", noSuchDomain
	}
	return value, nil
}

// isUnseen tells whether a character cannot be seen as what it is: control, format and
// bidi characters, blanks, what Unicode says to ignore by default (such as variation
// selectors and fillers), private and unassigned ones.
func isUnseen(r rune) bool {
	return r > unicode.MaxASCII && (!unicode.IsPrint(r) ||
		strings.ContainsRune("\u2800\ufffc\U00013441\U00013442\U0001d159", r) || // blank by design
		unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector))
}
