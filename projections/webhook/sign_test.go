package webhook

import (
	"crypto/ed25519"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"konto/events"
)

// Both were computed with other programs: OpenSSL's dgst -mac HMAC and pkeyutl -sign.
func TestSignaturesOfAKnownMessage(t *testing.T) {
	header := http.Header{}
	secrets := events.WebhookSecrets{HMAC: []byte("a secret of 24 bytes, ok"), Ed25519Seed: []byte("TESTSIGNINGKEYDONOTUSETHISFORANY")}
	sign(header, &events.ThirdParty{Secret: secrets}, testID, time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	want := "v1,wdMgoH9rQNZLrGkxP5f/lwWsOYJXSrWSCnhXeGMoYX8=" +
		" v1a,P8W6YTIWXq6IV2jB19GpdHMAj4+IIEU7pavAUgb9VsDc+5xI3pQ+b7Bf/E5801Avb9kd871nH1m8/WfCY16CBg=="
	if got := header.Get("webhook-signature"); got != want || header.Get("webhook-timestamp") != "1614265330" {
		t.Errorf("headers %s", header)
	}
}

func parseKeySet(t *testing.T, set []byte) map[string]ed25519.PublicKey {
	t.Helper()
	var parsed struct {
		Keys []struct{ Kty, Crv, Alg, Use, Kid, X string }
	}
	if err := json.Unmarshal(set, &parsed, json.MatchCaseInsensitiveNames(true), json.RejectUnknownMembers(true)); err != nil || len(parsed.Keys) == 0 {
		t.Fatalf("%s: %v", set, err)
	}
	keys := map[string]ed25519.PublicKey{}
	for _, k := range parsed.Keys {
		x, err := base64.RawURLEncoding.DecodeString(k.X)
		if err != nil || k.Kty != "OKP" || k.Crv != "Ed25519" || k.Alg != "EdDSA" || k.Use != "sig" {
			t.Fatalf("%s: %v", set, err)
		}
		keys[k.Kid] = x
	}
	return keys
}

// The key and its thumbprint are the example of RFC 8037, appendices A.1 to A.3.
func TestKeySetMatchesTheExampleOfRFC8037(t *testing.T) {
	seed, err := base64.RawURLEncoding.DecodeString("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
	if err != nil {
		t.Fatal(err)
	}
	key := TokenKey(func(purpose string) []byte {
		if purpose != "security event tokens" {
			t.Errorf("the key is derived for %s", purpose)
		}
		return seed
	})
	want := `{"keys":[{"crv":"Ed25519","kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",` +
		`"kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k","use":"sig","alg":"EdDSA"}]}`
	if got := string(KeySet(key)); got != want {
		t.Errorf("key set %s", got)
	}
}

// verifies checks an attempt's v1 signature with the public library, and its
// v1a signature.
func verifies(t *testing.T, r received, secrets events.WebhookSecrets) (v1, v1a bool) {
	t.Helper()
	library, err := standardwebhooks.NewWebhook(secrets.Secret())
	if err != nil {
		t.Fatal(err)
	}
	v1 = library.VerifyIgnoringTimestamp(r.body, r.header) == nil
	text, ok := strings.CutPrefix(secrets.PublicKey(), "whpk_")
	public, err := base64.StdEncoding.DecodeString(text)
	if err != nil || !ok {
		t.Fatal(err)
	}
	signed := r.header.Get("webhook-id") + "." + r.header.Get("webhook-timestamp") + "." + string(r.body)
	for signature := range strings.FieldsSeq(r.header.Get("webhook-signature")) {
		if text, ok := strings.CutPrefix(signature, "v1a,"); ok {
			signature, err := base64.StdEncoding.DecodeString(text)
			v1a = v1a || err == nil && ed25519.Verify(public, []byte(signed), signature)
		}
	}
	return v1, v1a
}

func TestEveryFormatIsSignedWithAllSecrets(t *testing.T) {
	h := newHarness(t)
	e := h.changed()
	now := opened
	h.cfg.Now = func() time.Time { return now }
	s := h.sender()
	url, got := endpoint(t, status(http.StatusAccepted))
	for _, format := range formats {
		to := party(format, url)
		previous := events.WebhookSecrets{HMAC: []byte("the shared secret, previous"), Ed25519Seed: []byte("the previous seed of tests, 32 b")}
		to.Previous = []events.RetiredSecrets{{WebhookSecrets: previous, Until: opened.Add(time.Hour)}}
		other := events.WebhookSecrets{HMAC: []byte("another's secret, no less"), Ed25519Seed: []byte("another's seed that is 32 bytes ")}
		for _, test := range []struct {
			at       time.Time
			previous bool
		}{{opened, true}, {opened.Add(time.Hour), false}} {
			now = test.at
			if a := s.Send(t.Context(), to, e); a.Verdict != Delivered {
				t.Fatalf("%s: %+v", format, a)
			}
			r := <-got
			if r.header.Get("webhook-id") != e.ID.String() || r.header.Get("webhook-timestamp") != strconv.FormatInt(now.Unix(), 10) {
				t.Errorf("%s: %s", format, r.header)
			}
			for name, signer := range map[string]struct {
				secrets events.WebhookSecrets
				fits    bool
			}{"the present": {to.Secret, true}, "the previous": {previous, test.previous}, "another's": {other, false}} {
				if v1, v1a := verifies(t, r, signer.secrets); v1 != signer.fits || v1a != signer.fits {
					t.Errorf("%s at %s with %s secret: v1 %v, v1a %v", format, now, name, v1, v1a)
				}
			}
		}
	}
}

func TestTestEventsAreSigned(t *testing.T) {
	s := newHarness(t).sender()
	url, got := endpoint(t, status(http.StatusNoContent))
	for _, format := range formats {
		to := party(format, url)
		if a := s.Test(t.Context(), to); a.Verdict != Delivered || a.Status != 204 {
			t.Errorf("%s: %+v", format, a)
		}
		if v1, v1a := verifies(t, <-got, to.Secret); !v1 || !v1a {
			t.Errorf("%s: v1 %v, v1a %v", format, v1, v1a)
		}
	}
}
