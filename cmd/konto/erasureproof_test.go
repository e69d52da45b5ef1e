package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/golang-jwt/jwt/v5"
)

// verifyProof checks a proof as whoever got it would, with the keys that konto serves.
func verifyProof(t *testing.T, url, proof string) jwt.MapClaims {
	t.Helper()
	status, body := send(t, "GET", url+"/.well-known/jwks.json", "", "")
	var set struct {
		Keys []struct {
			ID string `json:"kid"`
			X  string `json:"x"`
		} `json:"keys"`
	}
	if err := json.Unmarshal([]byte(body), &set); status != 200 || err != nil {
		t.Fatalf("the keys are %d %s: %v", status, body, err)
	}
	token, err := jwt.Parse(proof, func(token *jwt.Token) (any, error) {
		for _, key := range set.Keys {
			if key.ID == token.Header["kid"] {
				x, err := base64.RawURLEncoding.DecodeString(key.X)
				return ed25519.PublicKey(x), err
			}
		}
		return nil, fmt.Errorf("no key is called %v", token.Header["kid"])
	}, jwt.WithValidMethods([]string{"EdDSA"}), jwt.WithIssuer("konto"), jwt.WithIssuedAt())
	if err != nil {
		t.Fatal(err)
	}
	if token.Header["typ"] != "konto-erasure+jwt" {
		t.Errorf("its type is %v", token.Header["typ"])
	}
	return token.Claims.(jwt.MapClaims)
}

// checkProof: the proof says what was erased, and nothing of who it was.
func (a *aviary) checkProof(proof string) {
	a.t.Helper()
	claims := verifyProof(a.t, a.url, proof)
	said := fmt.Sprint(claims)
	if found := mentions(said, a.canaries); len(found) > 0 {
		a.t.Errorf("the proof tells %v: %s", found, said)
	}
	erasure, _ := claims["erasure"].(map[string]any)
	// The account's key, and those of an API key and three sessions.
	if claims["sub"] != a.id || erasure["keysDestroyed"] != 5.0 || erasure["event"] == nil || erasure["position"] == nil {
		a.t.Errorf("the proof says %s", said)
	}
	again := mustJSON(a.t, a.in("account", "erase", a.id, "--yes")...)
	if again["proof"] != proof {
		a.t.Error("erased again, it has another proof")
	}
}
