package webhook

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"

	"github.com/go-json-experiment/json"
)

// tokenPurpose is what the key is derived for.
const tokenPurpose = "security event tokens"

// TokenKey is the key that signs security event tokens: one for all third
// parties, since they check with a public key. derive is the keyring's.
func TokenKey(derive func(purpose string) []byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(derive(tokenPurpose))
}

// publicKey is a JWK (RFC 7517, and RFC 8037 for the type). Its members are in
// the order in which RFC 7638 hashes those that make a key's id.
type publicKey struct {
	Curve string `json:"crv"`
	Type  string `json:"kty"`
	X     string `json:"x"`
	ID    string `json:"kid,omitzero"`
	Use   string `json:"use,omitzero"`
	Alg   string `json:"alg,omitzero"`
}

func newPublicKey(key ed25519.PrivateKey) publicKey {
	x := key.Public().(ed25519.PublicKey)
	return publicKey{Curve: "Ed25519", Type: "OKP", X: base64.RawURLEncoding.EncodeToString(x)}
}

// KeySet is the public half as a set of keys (RFC 7517, section 5), which
// third parties check security event tokens with.
func KeySet(key ed25519.PrivateKey) []byte {
	k := newPublicKey(key)
	k.ID, k.Use, k.Alg = keyID(key), "sig", "EdDSA"
	set, err := json.Marshal(map[string][]publicKey{"keys": {k}})
	if err != nil {
		panic(err) // texts only
	}
	return set
}

// keyID is the key's thumbprint (RFC 7638).
func keyID(key ed25519.PrivateKey) string {
	members, err := json.Marshal(newPublicKey(key))
	if err != nil {
		panic(err) // texts only
	}
	sum := sha256.Sum256(members)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
