package commands

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
)

// A password's length in characters (Payway: 6..1024).
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

// HashPassword returns the password's argon2id hash in PHC string format. The
// error is *Invalid, for the field /password, when the password has fewer
// than 6 or more than 1024 characters.
func HashPassword(password string) (string, error) {
	switch n := utf8.RuneCountInString(password); {
	case n < minPassword:
		return "", &Invalid{Fields: []FieldError{{"/password", CodeInvalidValue, "The password must have at least 6 characters."}}}
	case n > maxPassword:
		return "", &Invalid{Fields: []FieldError{{"/password", CodeTooLong, "The password can have at most 1024 characters."}}}
	}
	var salt [argonSalt]byte
	rand.Read(salt[:]) // never fails: crypto/rand ends the program instead
	key := argon2.IDKey([]byte(password), salt[:], argonTime, argonMemory, argonThreads, argonKey)
	encode := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("%sv=%d$m=%d,t=%d,p=%d$%s$%s", passwordPrefix, argon2.Version,
		argonMemory, argonTime, argonThreads, encode(salt[:]), encode(key)), nil
}
