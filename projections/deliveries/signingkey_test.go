package deliveries

import (
	"context"
	"crypto/ed25519"
	"testing"
	"time"

	"konto/events"
	"konto/projections/webhook"
)

// signer is a sender that notes the keys with which it would sign.
type signer struct {
	*harness
	keys []ed25519.PrivateKey
}

func (s *signer) Send(ctx context.Context, party events.ThirdParty, e events.Event) webhook.Answer {
	s.keys = append(s.keys, party.SigningKey(party.Secret))
	return s.harness.Send(ctx, party, e)
}

// A signing key is made once, and a rotation takes effect with the next delivery.
func TestSigningKeysAreMadeOnceForEachSecret(t *testing.T) {
	virtual(t, func(h *harness) {
		s := &signer{harness: h}
		h.cfg.Sender = s
		h.start()
		party, account := h.add("crm"), h.open()
		tell := func() []ed25519.PrivateKey {
			s.keys = nil
			for range 2 {
				h.change(account, 1)
				pass(time.Minute)
			}
			if len(s.keys) != 2 || &s.keys[0][0] != &s.keys[1][0] {
				t.Errorf("%d keys for two deliveries, or each its own", len(s.keys))
			}
			return s.keys
		}
		tell()
		rotated := events.WebhookSecrets{HMAC: make([]byte, 32), Ed25519Seed: []byte("TESTSIGNINGKEYDONOTUSETHISFORANY")}
		h.happen(party, events.ThirdPartySecretRotated{Secret: rotated, PreviousUntil: time.Now().Add(time.Hour)})
		pass(time.Second)
		for _, key := range tell() {
			if !key.Equal(rotated.SigningKey()) {
				t.Error("it is not the rotated secret's")
			}
		}
	})
}
