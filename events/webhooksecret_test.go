package events_test

import (
	"bytes"
	"testing"
	"time"

	"konto/events"
)

// The public key was made from the seed with OpenSSL.
func TestTextFormsOfWebhookSecrets(t *testing.T) {
	s := events.WebhookSecrets{HMAC: []byte("a secret of 24 bytes, ok"), Ed25519Seed: []byte("TESTSIGNINGKEYDONOTUSETHISFORANY")}
	for name, pair := range map[string][2]string{
		"secret":      {s.Secret(), "whsec_YSBzZWNyZXQgb2YgMjQgYnl0ZXMsIG9r"},
		"private key": {s.PrivateKey(), "whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk="},
		"public key":  {s.PublicKey(), "whpk_ZlN4eg7dSSqi0moX9hQUk3orrOouK3QVQSlJa248c/g="},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s is %s, want %s", name, pair[0], pair[1])
		}
	}
}

// Each secret has its own key, made once for all copies of a third party that keep
// keys. What was rotated in since is no less signed with.
func TestSigningKeysAreKeptBySecret(t *testing.T) {
	secrets := func(n byte) events.WebhookSecrets {
		return events.WebhookSecrets{Ed25519Seed: bytes.Repeat([]byte{n}, 32)}
	}
	first, second, third := secrets(1), secrets(2), secrets(3)
	until := opened.Add(24 * time.Hour)
	p := party(events.ThirdPartyAdded{Secret: first}, events.ThirdPartySecretRotated{Secret: second, PreviousUntil: until})
	p.KeepSigningKeys()
	later := *p
	later.Apply(events.Event{Version: 3, Time: opened}, events.ThirdPartySecretRotated{Secret: third, PreviousUntil: until})
	for name, s := range map[string]events.WebhookSecrets{"first": first, "second": second, "third": third} {
		key, again := p.SigningKey(s), later.SigningKey(s)
		if !key.Equal(s.SigningKey()) || !again.Equal(key) {
			t.Errorf("another's key is the %s secret's", name)
		}
		if kept := &key[0] == &again[0]; kept != (name != "third") {
			t.Errorf("the key of the %s secret is kept: %v", name, kept)
		}
	}
}
