package events

import (
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"strings"

	"github.com/oklog/ulid/v2"
)

// ErrMalformedToken is returned by ParseToken for a text that is no token of konto's.
var ErrMalformedToken = errors.New("malformed token")

// SecretSize is the length of a token's secret in bytes: as it is random and
// long, a plain hash of it is enough at rest.
const SecretSize = 32

const tokenPrefix = "konto_"

// tokenSize is a token's length: the secret is 52 digits of five bits.
const tokenSize = len(tokenPrefix) + ulid.EncodedSize + 1 + (SecretSize*8+4)/5

var tokenEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Token is what a credential's holder shows: konto_, the credential's ULID in
// lower case, an underscore and the secret.
func Token(id ulid.ULID, secret [SecretSize]byte) string {
	return string(appendToken(make([]byte, 0, tokenSize), id, secret))
}

func appendToken(to []byte, id ulid.ULID, secret [SecretSize]byte) []byte {
	var name [ulid.EncodedSize]byte
	_ = id.MarshalTextTo(name[:]) // fails only for another size
	to = append(to, tokenPrefix...)
	for _, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		to = append(to, c)
	}
	return tokenEncoding.AppendEncode(append(to, '_'), secret[:])
}

// HashSecret is how a secret is kept.
func HashSecret(secret [SecretSize]byte) []byte {
	h := sha256.Sum256(secret[:])
	return h[:]
}

// ParseToken takes a token apart into the credential's id and its secret's hash.
func ParseToken(token string) (id ulid.ULID, secretHash []byte, err error) {
	rest, ok := strings.CutPrefix(token, tokenPrefix)
	if !ok || len(token) != tokenSize {
		return id, nil, ErrMalformedToken
	}
	if id, err = ulid.ParseStrict(rest[:ulid.EncodedSize]); err != nil {
		return id, nil, ErrMalformedToken
	}
	var secret [SecretSize]byte
	if _, err = tokenEncoding.Decode(secret[:], []byte(rest[ulid.EncodedSize+1:])); err != nil {
		return id, nil, ErrMalformedToken
	}
	// A token has one spelling: the decoders overlook case, line ends and spare bits.
	var spelled [tokenSize]byte // on the stack: each request comes by here
	if string(appendToken(spelled[:0], id, secret)) != token {
		return id, nil, ErrMalformedToken
	}
	return id, HashSecret(secret), nil
}
