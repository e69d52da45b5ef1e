package http

import (
	"slices"
	"strings"

	"konto/commands"
)

// oneOf takes only the given texts, letter case included.
func oneOf(values ...string) format {
	return func(text string) (code, detail string) {
		switch {
		case slices.Contains(values, text):
			return "", ""
		case text == "":
			return commands.CodeEmpty, "This member must not be empty."
		}
		return commands.CodeInvalidValue, "This member must be one of " + strings.Join(values, ", ") + "."
	}
}
