package events

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/oklog/ulid/v2"
)

// emailCodes is how many codes there are: six digits, 20 bits. Package commands allows an account
// ten wrong codes an hour over all requests, so even odds of guessing one take some eight years.
const emailCodes = 1_000_000

// EmailCodes computes the code that confirms an email change from the id of its request. So the
// code is neither stored nor published: the write side stores a hash, and the mailer computes the
// code again.
type EmailCodes struct{ key []byte }

// NewEmailCodes returns an EmailCodes with a key that derive, the keyring's, makes for this purpose.
func NewEmailCodes(derive func(purpose string) []byte) EmailCodes {
	return EmailCodes{derive("email-change-code")}
}

// Code is the request's code: six digits.
func (c EmailCodes) Code(request ulid.ULID) string {
	// The remainder makes some codes more likely, by one in 2^44.
	return fmt.Sprintf("%06d", binary.BigEndian.Uint64(c.mac("code", request, ""))%emailCodes)
}

// Hash returns the hash that is stored to check an entered code. The hash has a key, because
// whoever has a plain hash can try a million codes at once. White space in the code is ignored.
func (c EmailCodes) Hash(request ulid.ULID, code string) []byte {
	return c.mac("hash", request, strings.Join(strings.Fields(code), ""))
}

func (c EmailCodes) mac(use string, request ulid.ULID, code string) []byte {
	mac := hmac.New(sha256.New, c.key)
	mac.Write([]byte(use)) // unambiguous: both uses have four letters, and a request has 16 bytes
	mac.Write(request[:])
	mac.Write([]byte(code))
	return mac.Sum(nil)
}
