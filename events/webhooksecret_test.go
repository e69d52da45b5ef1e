package events_test

import (
	"testing"

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
