package commands

import (
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
