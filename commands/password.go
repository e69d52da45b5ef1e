package commands

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ccojocar/zxcvbn-go"
	"github.com/ccojocar/zxcvbn-go/match"
	"github.com/ccojocar/zxcvbn-go/matching"
	"golang.org/x/crypto/argon2"
	"golang.org/x/sync/semaphore"
	"golang.org/x/text/secure/precis"

	"konto/events"
)

// A password's length in characters (Payway: 6..1024), in the form that is hashed.
const (
	minPassword = 6
	maxPassword = 1024
)

// The cost of a hash: the first of OWASP's recommended settings for argon2id.
const (
	argonMemory  = 19 * 1024 // KiB
	argonTime    = 2
	argonThreads = 1
	argonKey     = 32 // bytes
	argonSalt    = 16 // bytes
)

const passwordPrefix = "$argon2id$"

// maxHashing is how many goroutines hash, verify or judge a password at the same time. Each
// needs a core for some 20 ms, and half of the cores stay free for other requests.
var (
	maxHashing = int64(max(1, runtime.GOMAXPROCS(0)/2))
	hashing    = semaphore.NewWeighted(maxHashing)
)

// CheckPassword returns a new password in the form that is hashed: RFC 8265's OpaqueString,
// in which all ways to write the same password are equal. The error is *Invalid, for the
// field /password, if that form has fewer than 6 or more than 1024 characters, or if
// OpaqueString refuses the password: control characters, characters that Unicode has not
// assigned, text that is not UTF-8.
func CheckPassword(password string) (string, error) {
	normal, fault := newPassword(password)
	if fault != nil {
		return "", &Invalid{Fields: []FieldError{{"/password", fault.code, fault.detail}}}
	}
	return normal, nil
}

// newPassword is the rule of CheckPassword.
func newPassword(password string) (string, *fault) {
	normal, err := precis.OpaqueString.String(password)
	switch n := utf8.RuneCountInString(normal); {
	case password != "" && (err != nil || !utf8.ValidString(password)):
		return "", &fault{CodeInvalidFormat, "The password has a control character or another one that cannot be in a password."}
	case n < minPassword:
		return "", &fault{CodeInvalidValue, "The password must have at least 6 characters."}
	case n > maxPassword:
		return "", &fault{CodeTooLong, "The password can have at most 1024 characters."}
	}
	return normal, nil
}

// HashPassword returns the password's argon2id hash in PHC string format. The error is that of
// CheckPassword, or ctx's own if ctx ends while HashPassword waits for other hashes.
func HashPassword(ctx context.Context, password string) (string, error) {
	normal, err := CheckPassword(password)
	if err != nil {
		return "", err
	}
	if err := hashing.Acquire(ctx, 1); err != nil {
		return "", err
	}
	defer hashing.Release(1)
	return hashPassword(normal), nil
}

// hashPassword hashes a password in the form of CheckPassword. Its caller has acquired hashing.
func hashPassword(normal string) string {
	var salt [argonSalt]byte
	rand.Read(salt[:]) // never fails: crypto/rand ends the program instead
	key := argon2.IDKey([]byte(normal), salt[:], argonTime, argonMemory, argonThreads, argonKey)
	encode := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("%sv=%d$m=%d,t=%d,p=%d$%s$%s", passwordPrefix, argon2.Version,
		argonMemory, argonTime, argonThreads, encode(salt[:]), encode(key))
}

// hashIfStrong acquires hashing and returns the hash of a password, or "" if the password is
// weak. To judge that takes long, so it is limited too.
func hashIfStrong(ctx context.Context, normal string, a *events.Account) (string, error) {
	if err := hashing.Acquire(ctx, 1); err != nil {
		return "", err
	}
	defer hashing.Release(1)
	if isWeak(normal, a) {
		return "", nil
	}
	return hashPassword(normal), nil
}

// errHash means that konto cannot verify an account's stored hash.
var errHash = errors.New("stored password hash is malformed or too costly")

// The most costly hashes that are verified, so that an imported hash cannot stop the machine.
// The settings that OWASP and RFC 9106 recommend for servers cost less.
const (
	maxArgonMemory = 256 * 1024 // KiB
	maxArgonTime   = 16
)

// verifyPassword reports whether a password belongs to an argon2id hash in PHC string format.
// The hash can be of the form of CheckPassword or of the password as it was written, which
// earlier builds and other systems hash. It waits for other hashes, or until ctx ends.
func verifyPassword(ctx context.Context, password, hash string) (bool, error) {
	h, err := readHash(hash)
	if err != nil {
		return false, err
	}
	if err := hashing.Acquire(ctx, 1); err != nil {
		return false, err
	}
	defer hashing.Release(1)
	if normal, err := precis.OpaqueString.String(password); err == nil && normal != password && h.isOf(normal) {
		return true, nil
	}
	return h.isOf(password), nil
}

// isOf reports whether the hash belongs to exactly these bytes.
func (h *argonHash) isOf(password string) bool {
	derived := argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.threads, uint32(len(h.key)))
	return subtle.ConstantTimeCompare(derived, h.key) == 1
}

// argonHash is a stored hash.
type argonHash struct {
	time, memory uint32
	threads      uint8
	salt, key    []byte
}

// readHash parses a hash. The error is errHash if konto cannot verify such a hash.
func readHash(text string) (h argonHash, err error) {
	var version, threads int
	var rest string
	n, err := fmt.Sscanf(text, passwordPrefix+"v=%d$m=%d,t=%d,p=%d$%s", &version, &h.memory, &h.time, &threads, &rest)
	if err != nil || n != 5 || version != argon2.Version || threads < 1 || threads > 255 ||
		h.time < 1 || h.time > maxArgonTime || h.memory > maxArgonMemory {
		return argonHash{}, errHash
	}
	h.threads = uint8(threads)
	h.salt, h.key, err = saltAndKey(rest)
	return h, err
}

// saltAndKey decodes the last two parts of a hash, salt$key.
func saltAndKey(text string) (salt, key []byte, err error) {
	encodedSalt, encodedKey, found := strings.Cut(text, "$")
	salt, saltErr := base64.RawStdEncoding.DecodeString(encodedSalt)
	key, keyErr := base64.RawStdEncoding.DecodeString(encodedKey)
	// With a short key, a guess could match by chance.
	if !found || saltErr != nil || keyErr != nil || len(salt) < 8 || len(key) < 16 {
		return nil, nil, errHash
	}
	return salt, key, nil
}

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
