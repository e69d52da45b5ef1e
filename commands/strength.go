package commands

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ccojocar/zxcvbn-go"
	"github.com/ccojocar/zxcvbn-go/match"
	"github.com/ccojocar/zxcvbn-go/matching"

	"konto/events"
)

const (
	// minBits is what a new password must have: zxcvbn's score 2 of 0 to 4, which
	// begins at a hundred million guesses on average. That is too many for somebody
	// who has to ask konto each time.
	minBits = 27.575
	// judgedRunes is how much of a password zxcvbn sees at once, because its time
	// grows with the cube of the length.
	judgedRunes = 32
	// maxPieces is how many different pieces of judgedRunes zxcvbn sees. A text of
	// more of them that repeats nothing is not weak, whatever words it has.
	maxPieces = 4
	// maxReadings bounds how often zxcvbn looks up the same text with other letters
	// in place of look-alikes such as 4 and @.
	maxReadings = 16
)

// isWeak tells whether a password is easy to guess for somebody who knows the
// account. zxcvbn judges a long password in pieces, whose bits add up, so that
// the beginning alone does not decide. A piece that comes again adds nothing.
//
// The time is bounded whatever the password is; BenchmarkStrength measures it.
func isWeak(password string, a *events.Account) bool {
	local, _, _ := strings.Cut(a.Email, "@")
	p := &a.Profile
	known := []string{a.Email, local, p.FirstName, p.LastName, p.CompanyName, p.PhoneNumber, p.Alias}
	for i := range known {
		known[i] = strings.ToLower(known[i]) // as zxcvbn compares them
		// A known text that is longer than a piece would not be found in any piece.
		if lower := strings.ToLower(password); utf8.RuneCountInString(known[i]) > judgedRunes && strings.Contains(lower, known[i]) {
			password = strings.ReplaceAll(lower, known[i], "")
		}
	}
	bits, judged := 0.0, map[string]bool{}
	for runes := range slices.Chunk([]rune(unrepeated(password)), judgedRunes) {
		piece := string(runes)
		lower := strings.ToLower(piece)
		if judged[lower] {
			continue
		}
		if len(judged) == maxPieces {
			return false
		}
		judged[lower] = true
		bits += zxcvbn.PasswordStrength(piece, known, unreadable(piece)).Entropy
		if bits >= minBits {
			return false
		}
	}
	return true
}

// unrepeated cuts a text of more than judgedRunes that repeats its beginning, as
// jamesjamesja does, to the part that is repeated: in pieces of another length
// the repetitions would look different.
func unrepeated(text string) string {
	for n := 1; n <= len(text)/2 && utf8.RuneCountInString(text) > judgedRunes; n++ {
		if strings.HasPrefix(text, text[n:]) {
			return text[:n]
		}
	}
	return text
}

// unreadable leaves out zxcvbn's matcher of look-alikes for a text that has more
// than maxReadings readings: the matcher tries each one, and there can be a
// thousand. A word needs few different look-alikes.
func unreadable(text string) func(match.Matcher) bool {
	if readings(text) > maxReadings {
		return matching.FilterL33tMatcher
	}
	return func(match.Matcher) bool { return false }
}

// readings is an upper bound of the ways in which zxcvbn replaces look-alikes in
// a text by letters.
func readings(text string) int {
	n := 1
	// zxcvbn's table (L33t.json) of letters that have several look-alikes: a, c, g, i, l, s and t.
	for _, alike := range []string{"4@", "({[<", "69", "1!|", "1|7", "$5", "+7"} {
		n *= max(1, distinct(text, alike))
	}
	// Each of these stands for one of two letters.
	return n << distinct(text, "1|7")
}

// distinct counts the characters of a set that a text has.
func distinct(text, set string) (n int) {
	for _, c := range set {
		if strings.ContainsRune(text, c) {
			n++
		}
	}
	return n
}
