package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// provider is an identity provider. token returns a token of one of its users.
func provider(t *testing.T) (url string, token func(subject string) string) {
	t.Helper()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"keys":[{"kid":"k","kty":"OKP","crv":"Ed25519","x":%q}]}`, base64.RawURLEncoding.EncodeToString(key.Public().(ed25519.PublicKey)))
	}))
	t.Cleanup(server.Close)
	return server.URL, func(subject string) string {
		token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{
			"iss": server.URL, "aud": "konto", "sub": subject, "scope": "profile", "exp": time.Now().Add(time.Hour).Unix(),
		})
		token.Header["kid"] = "k"
		text, err := token.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
}

func TestUsersOfAnIdentityProviderAreLinkedByCommand(t *testing.T) {
	folder := t.TempDir()
	issuer, token := provider(t)
	id := mustJSON(t, "account", "open", "--email", "anna@example.com", "--data", folder)["id"].(string)
	must(t, "account", "open", "--email", "eva@example.com", "--data", folder)
	refused(t, exitFailed, konto(t, "account", "link", "anna@example.com", "--subject", "s1", "--data", folder), "--issuer")
	must(t, "account", "link", "anna@example.com", "--subject", "s1", "--issuer", issuer, "--data", folder)

	_, url, _ := serve(t, folder, "--user-jwt-issuer", issuer, "--user-jwt-audience", "konto", "--user-jwks-url", issuer,
		"--user-jwt-scope", "profile=read:account")
	answers := func(subject string, want int) {
		t.Helper()
		if status, body := send(t, "GET", url+"/v1/account", token(subject), ""); status != want {
			t.Errorf("%s gets %d, want %d: %s", subject, status, want, body)
		}
	}
	answers("s1", 200)
	answers("s2", 401)
	linked := mustJSON(t, "account", "link", id, "--subject", "s2", "--data", folder) // of the server's issuer
	if again := mustJSON(t, "account", "link", id, "--subject", "s2", "--data", folder); linked["version"] != 3.0 || again["version"] != 3.0 {
		t.Errorf("linked %v, and again %v", linked, again)
	}
	answers("s2", 200)
	refused(t, exitFailed, konto(t, "account", "link", "eva@example.com", "--subject", "s2", "--data", folder), "already in use by another account")
	must(t, "account", "unlink", id, "--subject", "s1", "--data", folder)
	answers("s1", 401)
	refused(t, exitFailed, konto(t, "account", "unlink", id, "--subject", "s1", "--data", folder), "not linked")

	shown := mustJSON(t, "account", "show", id, "--data", folder)["identities"]
	if fmt.Sprint(shown) != fmt.Sprintf("[map[issuer:%s subject:s2]]", issuer) {
		t.Errorf("show lists %v", shown)
	}
	if text := must(t, "account", "show", id, "--data", folder); !strings.Contains(text, "identities.0.subject            s2") {
		t.Errorf("show prints %s", text)
	}
	history := must(t, "account", "history", id, "--data", folder)
	for _, line := range []string{"IdentityLinked.v1  by operator through cli", `identities: – → [{"issuer":"` + issuer + `","subject":"s1"}]`, "IdentityUnlinked.v1"} {
		if !strings.Contains(history, line) {
			t.Errorf("history does not say %q:\n%s", line, history)
		}
	}
	if text := must(t, "events", "list", "--data", folder); strings.Contains(text, `"subject"`) || !strings.Contains(text, "IdentityLinked.v1  {}") {
		t.Errorf("the list of events is\n%s", text)
	}
	must(t, "account", "erase", id, "--yes", "--data", folder)
	answers("s2", 401)
	must(t, "account", "link", "eva@example.com", "--subject", "s2", "--data", folder)
	answers("s2", 200)
	must(t, "verify", "--data", folder)
}
