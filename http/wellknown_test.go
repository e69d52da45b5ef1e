package http

import "testing"

func TestPublicKeysNeedNoCredential(t *testing.T) {
	const set, path = `{"keys":[]}`, "/.well-known/jwks.json"
	h := New(Config{KeySet: []byte(set)})
	answer := ask(h, "GET", path)
	if answer.StatusCode != 200 || readAll(t, answer.Body) != set || answer.Header.Get("Content-Type") != "application/json" ||
		answer.Header.Get("Cache-Control") != "public, max-age=3600" {
		t.Errorf("%d %s", answer.StatusCode, answer.Header)
	}
	for method, want := range map[string]int{"HEAD": 200, "POST": 405} {
		if got := ask(h, method, path).StatusCode; got != want {
			t.Errorf("%s: %d", method, got)
		}
	}
	if got := ask(New(Config{}), "GET", path).StatusCode; got != 404 {
		t.Errorf("without keys: %d", got)
	}
}
