package commands

import (
	"strings"

	"github.com/ccojocar/zxcvbn-go"

	"konto/events"
)

const (
	// minStrength is zxcvbn's 2 of 0 to 4: more than a hundred million guesses,
	// too many for whoever has to ask konto each time.
	minStrength = 2
	// judgedRunes is how much of a password is judged: the estimate's time
	// grows with the square of the length.
	judgedRunes = 64
)

// isWeak tells whether a password is easy to guess for someone who knows the
// account.
func isWeak(password string, a events.Account) bool {
	if runes := []rune(password); len(runes) > judgedRunes {
		password = string(runes[:judgedRunes])
	}
	local, _, _ := strings.Cut(a.Email, "@")
	p := &a.Profile
	known := []string{a.Email, local, p.FirstName, p.LastName, p.CompanyName, p.PhoneNumber, p.Alias}
	for i := range known {
		known[i] = strings.ToLower(known[i]) // as zxcvbn compares them
	}
	return zxcvbn.PasswordStrength(password, known).Score < minStrength
}
