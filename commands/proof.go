package commands

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/secure/precis"

	"konto/events"
)

// errHash tells that an account's stored hash is none that konto can verify.
var errHash = errors.New("stored password hash is malformed or too costly")

// The dearest hashes that are verified, so that an imported one cannot stop the
// machine. OWASP's and RFC 9106's recommended settings for servers lie below.
const (
	maxArgonMemory = 256 * 1024 // KiB
	maxArgonTime   = 16
)

// proof is what was found about the current password before a command is
// decided. It holds for one hash only.
type proof struct {
	hash  string // that the password was held against; "": the account has none
	holds bool   // the password is that hash's, or none is needed
	given bool
	// refused is why the password was not looked at: *TooMany. It is told in
	// decide, so that a repeated request finds its receipt first.
	refused error
}

// prove holds a password against a hash.
func prove(ctx context.Context, password, hash string) (proof, error) {
	p := proof{hash: hash, holds: hash == "", given: password != ""}
	if p.holds || !p.given {
		return p, nil
	}
	var err error
	p.holds, err = verifyPassword(ctx, password, hash)
	return p, err
}

// check rejects a wrong password. When the account's password is another one by
// now, nothing was proved: ErrBusy, and the caller tries again.
func (p proof) check(c *checker, state events.Account) error {
	switch {
	case p.hash != state.PasswordHash:
		return ErrBusy
	case p.refused != nil:
		return p.refused
	case p.holds:
	case !p.given:
		c.reject("/currentPassword", &fault{CodeMustBeSet, "The current password is required."})
	default:
		c.reject("/currentPassword", &fault{CodeIncorrect, "The current password is another one."})
	}
	return nil
}

// verifyPassword tells whether a password is that of an argon2id hash in PHC
// string format. The hash may be of the form of CheckPassword or, as konto once
// made them and other systems do, of the password as it was written. It waits
// for its turn, no longer than ctx.
func verifyPassword(ctx context.Context, password, hash string) (bool, error) {
	h, err := readHash(hash)
	if err != nil {
		return false, err
	}
	if err := takeTurn(ctx); err != nil {
		return false, err
	}
	defer leaveTurn()
	if normal, err := precis.OpaqueString.String(password); err == nil && normal != password && h.isOf(normal) {
		return true, nil
	}
	return h.isOf(password), nil
}

// isOf tells whether the hash is a password's, byte by byte.
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

// readHash reads a hash that konto can verify, else errHash.
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

// saltAndKey decodes the last two parts of a hash: salt$key.
func saltAndKey(text string) (salt, key []byte, err error) {
	encodedSalt, encodedKey, found := strings.Cut(text, "$")
	salt, saltErr := base64.RawStdEncoding.DecodeString(encodedSalt)
	key, keyErr := base64.RawStdEncoding.DecodeString(encodedKey)
	// A short key would let a guess pass by chance.
	if !found || saltErr != nil || keyErr != nil || len(salt) < 8 || len(key) < 16 {
		return nil, nil, errHash
	}
	return salt, key, nil
}
