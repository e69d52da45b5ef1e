package commands

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"runtime"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
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

// hashing holds as many as hash, verify or judge a password at the same time.
// Each takes a core for some 20 ms, and half of the cores stay free for others.
var hashing = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))

// CheckPassword brings a new password into the form that is hashed: RFC 8265's
// OpaqueString, in which ways to write the same password are one. The error is
// *Invalid, for the field /password, when that has fewer than 6 or more than
// 1024 characters, or when OpaqueString refuses it: control characters,
// characters that Unicode has not assigned, text that is not UTF-8.
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

// HashPassword returns the password's argon2id hash in PHC string format. The
// error is CheckPassword's, or ctx's own when it ends before the password's
// turn comes.
func HashPassword(ctx context.Context, password string) (string, error) {
	normal, err := CheckPassword(password)
	if err != nil {
		return "", err
	}
	if err := takeTurn(ctx); err != nil {
		return "", err
	}
	defer leaveTurn()
	return hashPassword(normal), nil
}

// hashPassword hashes a password in the form of CheckPassword. The caller has a turn.
func hashPassword(normal string) string {
	var salt [argonSalt]byte
	rand.Read(salt[:]) // never fails: crypto/rand ends the program instead
	key := argon2.IDKey([]byte(normal), salt[:], argonTime, argonMemory, argonThreads, argonKey)
	encode := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("%sv=%d$m=%d,t=%d,p=%d$%s$%s", passwordPrefix, argon2.Version,
		argonMemory, argonTime, argonThreads, encode(salt[:]), encode(key))
}

// hashIfStrong is hashPassword in a turn of its own, "" for a password that is
// weak. Judging that takes long enough to need the turn too.
func hashIfStrong(ctx context.Context, normal string, a *events.Account) (string, error) {
	if err := takeTurn(ctx); err != nil {
		return "", err
	}
	defer leaveTurn()
	if isWeak(normal, a) {
		return "", nil
	}
	return hashPassword(normal), nil
}

// takeTurn waits until one more may hash, no longer than ctx.
func takeTurn(ctx context.Context) error {
	select {
	case hashing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func leaveTurn() { <-hashing }
