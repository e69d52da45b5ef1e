package webhook

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/oklog/ulid/v2"
)

// ErasureProof is konto's statement about an account that it erased. Nothing in it identifies
// the account's owner.
type ErasureProof struct {
	Account ulid.ULID
	// Event and Position are those of AccountErased in the log. They are zero when the account
	// was erased again in a restored log that never had it.
	Event    ulid.ULID
	Position uint64
	Keys     int // that were destroyed: the account's, and those of its credentials
	At       time.Time
}

// typeErasureProof distinguishes a proof from any other token of konto.
const typeErasureProof = "konto-erasure+jwt"

// Sign makes a signed statement (JWS, RFC 7515) of the proof, which can be checked with the keys
// at /.well-known/jwks.json. key is TokenKey's. The claims are iss (konto), jti, iat, sub (the
// account's ULID) and the object erasure with event, position and keysDestroyed. It never expires.
func (p ErasureProof) Sign(key ed25519.PrivateKey) (string, error) {
	erasure := map[string]any{"keysDestroyed": p.Keys}
	if p.Position > 0 {
		erasure["event"], erasure["position"] = p.Event.String(), p.Position
	}
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{
		"iss": "konto", "jti": ulid.Make().String(), "iat": p.At.Unix(), "sub": p.Account.String(), "erasure": erasure,
	})
	t.Header["typ"], t.Header["kid"] = typeErasureProof, keyID(key)
	signed, err := t.SignedString(key)
	if err != nil {
		return "", fmt.Errorf("sign the proof of an erasure: %w", err)
	}
	return signed, nil
}

// CheckErasureProof returns an error unless a proof is about the account and the time of its
// erasure, to the second. A signature of another key than TokenKey's is not checked, because the
// keyring may have been replaced since, as after an import.
func CheckErasureProof(proof string, account ulid.ULID, at time.Time, key ed25519.PrivateKey) error {
	var said jwt.RegisteredClaims
	t, _, err := jwt.NewParser().ParseUnverified(proof, &said)
	switch {
	case err != nil:
		return errors.New("the proof of the erasure cannot be read")
	case said.Subject != account.String() || said.IssuedAt == nil || !said.IssuedAt.Equal(at):
		return errors.New("the proof is of another erasure")
	case t.Header["kid"] != keyID(key):
		return nil
	}
	public := func(*jwt.Token) (any, error) { return key.Public(), nil }
	if _, err := jwt.Parse(proof, public, jwt.WithValidMethods([]string{"EdDSA"})); err != nil {
		return errors.New("the proof of the erasure is not signed with konto's key")
	}
	return nil
}
