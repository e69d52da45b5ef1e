package events

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/oklog/ulid/v2"
)

// emailCodes is how many codes there are: six digits, 20 bits. With the ten
// tries an hour that commands allows an account, whatever is requested
// meanwhile, even odds to guess one take some eight years.
const emailCodes = 1_000_000

// EmailCodes makes the code that confirms a change of address from the request
// that asked for it. So the code is neither stored nor published: the write
// side keeps a hash, and the mailer makes the code again.
type EmailCodes struct{ key []byte }

// NewEmailCodes makes codes with a key that the keyring derives for them alone.
func NewEmailCodes(derive func(purpose string) []byte) EmailCodes {
	return EmailCodes{derive("email-change-code")}
}

// Code is the request's code: six digits.
func (c EmailCodes) Code(request ulid.ULID) string {
	// The remainder favours some codes by one in 2^44.
	return fmt.Sprintf("%06d", binary.BigEndian.Uint64(c.mac("code", request, ""))%emailCodes)
}

// Hash is what is stored to check an entered code by. It is keyed: a million
// codes are tried in no time by whoever has a plain hash. White space in the
// code does not count.
func (c EmailCodes) Hash(request ulid.ULID, code string) []byte {
	return c.mac("hash", request, strings.Join(strings.Fields(code), ""))
}

func (c EmailCodes) mac(use string, request ulid.ULID, code string) []byte {
	mac := hmac.New(sha256.New, c.key)
	mac.Write([]byte(use)) // both uses have four letters and a request 16 bytes: nothing runs together
	mac.Write(request[:])
	mac.Write([]byte(code))
	return mac.Sum(nil)
}
