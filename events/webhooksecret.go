package events

import (
	"crypto/ed25519"
	"encoding/base64"
	"sync"
	"time"
)

// The prefixes of keys in the text forms of Standard Webhooks.
const (
	hmacPrefix      = "whsec_"
	publicKeyPrefix = "whpk_"
	seedPrefix      = "whsk_"
)

// Secret is the shared secret as the third party enters it, whsec_ and base64:
// whoever has it can check v1 signatures, and make them.
func (s WebhookSecrets) Secret() string {
	return hmacPrefix + base64.StdEncoding.EncodeToString(s.HMAC)
}

// PublicKey is what v1a signatures are checked with, whpk_ and base64. It is no
// secret. It panics when the seed is not 32 bytes long.
func (s WebhookSecrets) PublicKey() string {
	return publicKeyPrefix + base64.StdEncoding.EncodeToString(s.SigningKey().Public().(ed25519.PublicKey))
}

// PrivateKey is what v1a signatures are made with, whsk_ and base64. It is
// konto's alone, and shown to nobody but those who move a third party to
// another konto.
func (s WebhookSecrets) PrivateKey() string {
	return seedPrefix + base64.StdEncoding.EncodeToString(s.Ed25519Seed)
}

// SigningKey makes v1a signatures. It panics when the seed is not 32 bytes long.
func (s WebhookSecrets) SigningKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(s.Ed25519Seed)
}

// KeepSigningKeys lets t and its copies make the signing key of each of their
// secrets once, when it is first used: that takes as long as to sign. Keys are kept
// as long as t and its copies are, which hold the secrets too.
func (t *ThirdParty) KeepSigningKeys() {
	t.signingKeys = make(map[string]func() ed25519.PrivateKey)
	for _, s := range t.Secrets(time.Time{}) { // all: none has ended by then
		t.signingKeys[string(s.Ed25519Seed)] = sync.OnceValue(s.SigningKey)
	}
}

// SigningKey is s's signing key: the one that was kept, if s is among the secrets
// that KeepSigningKeys found, else a new one.
func (t *ThirdParty) SigningKey(s WebhookSecrets) ed25519.PrivateKey {
	if key := t.signingKeys[string(s.Ed25519Seed)]; key != nil {
		return key()
	}
	return s.SigningKey()
}
