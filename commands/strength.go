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
	// minBits is the entropy that a new password must have. It is zxcvbn's score 2 of 0 to
	// 4: a hundred million guesses on average, too many for somebody who has to send konto
	// a request for each.
	minBits = 27.575
	// judgedRunes is how many characters of a password zxcvbn sees at once, because its
	// time grows with the cube of the length.
	judgedRunes = 32
	// maxPieces is how many different pieces of judgedRunes zxcvbn sees. A longer password
	// without repetitions is not weak, whatever its words are.
	maxPieces = 4
	// maxReadings is how many replacements of look-alikes such as 4 and @ by letters zxcvbn
	// tries on one text.
	maxReadings = 16
)

// isWeak reports whether a password is easy to guess for somebody who knows the account.
// zxcvbn judges a long password in pieces, and their entropy is added up, so that the
// beginning alone does not decide. A repeated piece adds nothing.
//
// The time is bounded for every password. BenchmarkStrength measures it.
func isWeak(password string, a *events.Account) bool {
	local, _, _ := strings.Cut(a.Email, "@")
	p := &a.Profile
	known := []string{a.Email, local, p.FirstName, p.LastName, p.CompanyName, p.PhoneNumber, p.Alias}
	for i := range known {
		known[i] = strings.ToLower(known[i]) // as zxcvbn compares them
		// zxcvbn cannot find a known text that is longer than a piece, so it is removed here.
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
		bits += zxcvbn.PasswordStrength(piece, known, filterLookAlikes(piece)).Entropy
		if bits >= minBits {
			return false
		}
	}
	return true
}

// unrepeated returns the repeated part of a text that is longer than judgedRunes and repeats
// its beginning, as jamesjamesja does. In pieces of another length than that part, the
// repetitions would look different.
func unrepeated(text string) string {
	for n := 1; n <= len(text)/2 && utf8.RuneCountInString(text) > judgedRunes; n++ {
		if strings.HasPrefix(text, text[n:]) {
			return text[:n]
		}
	}
	return text
}

// filterLookAlikes leaves out zxcvbn's matcher of look-alikes for a text with more than
// maxReadings readings. The matcher tries each reading, and there can be a thousand, while a
// word needs few different look-alikes.
func filterLookAlikes(text string) func(match.Matcher) bool {
	if readings(text) > maxReadings {
		return matching.FilterL33tMatcher
	}
	return func(match.Matcher) bool { return false }
}

// readings is an upper bound of the ways in which zxcvbn replaces the look-alikes of a text by
// letters.
func readings(text string) int {
	n := 1
	// The letters with several look-alikes in zxcvbn's table (L33t.json): a, c, g, i, l, s and t.
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
