package commands

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"runtime"
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

// hashing holds as many as hash at the same time. Each takes a core for some
// 20 ms, and half of the cores stay with those who want something else.
var hashing = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))

// HashPassword returns the password's argon2id hash in PHC string format. The
// error is *Invalid, for the field /password, when the password has fewer
// than 6 or more than 1024 characters, and ctx's own when it ends before the
// password's turn comes.
func HashPassword(ctx context.Context, password string) (string, error) {
	switch n := utf8.RuneCountInString(password); {
	case n < minPassword:
		return "", &Invalid{Fields: []FieldError{{"/password", CodeInvalidValue, "The password must have at least 6 characters."}}}
	case n > maxPassword:
		return "", &Invalid{Fields: []FieldError{{"/password", CodeTooLong, "The password can have at most 1024 characters."}}}
	}
	if err := takeTurn(ctx); err != nil {
		return "", err
	}
	defer leaveTurn()
	var salt [argonSalt]byte
	rand.Read(salt[:]) // never fails: crypto/rand ends the program instead
	key := argon2.IDKey([]byte(password), salt[:], argonTime, argonMemory, argonThreads, argonKey)
	encode := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("%sv=%d$m=%d,t=%d,p=%d$%s$%s", passwordPrefix, argon2.Version,
		argonMemory, argonTime, argonThreads, encode(salt[:]), encode(key)), nil
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
