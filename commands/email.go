package commands

import (
	"net/mail"
	"strings"
	"unicode"
)

// maxEmail is the longest email address in bytes (Payway: "Size range: ..1024").
const maxEmail = 1024

// emailAddress is the rule for email addresses. It refuses what cannot be one and
// leaves the rest to the mail system: stricter grammars are the contracts' own.
func emailAddress(value string) (string, *fault) {
	if len(value) > maxEmail {
		return "", &fault{CodeTooLong, "The email address can have at most 1024 bytes."}
	}
	local, domain, found := strings.Cut(value, "@")
	if !found || local == "" || strings.Contains(domain, "@") || strings.ContainsFunc(value, unicode.IsSpace) || !isDomain(domain) {
		return "", &fault{CodeInvalidFormat, "The email address must have the form name@domain.example."}
	}
	return value, nil
}

// mailAddress is the rule for addresses that a code is mailed to: of those that
// emailAddress takes, the ones that a message can carry (RFC 5322).
func mailAddress(value string) (string, *fault) {
	value, wrong := emailAddress(value)
	if wrong != nil {
		return "", wrong
	}
	if written, err := mail.ParseAddress(value); err != nil || written.Address != value {
		return "", &fault{CodeInvalidFormat, "The email address cannot be written in a message."}
	}
	return value, nil
}

// isDomain tells whether the name has at least two labels, none of them empty.
func isDomain(name string) bool {
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if label == "" {
			return false
		}
	}
	return len(labels) > 1
}
