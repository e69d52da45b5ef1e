package http

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"konto/commands"
	"konto/events"
)

// A node that does not know what others have acknowledged admits no credential: another node may
// have revoked it.
func TestNodeThatIsBehindAdmitsNobody(t *testing.T) {
	h := newHarness(t)
	account := h.open("anna", commands.Open{Email: "anna@example.com"})
	h.key("key", events.KeyIssued{Account: account, Scopes: []string{"read:account"}})
	h.key("client", events.KeyIssued{Client: "registry", Scopes: []string{"/external/account/r"}})
	asked, behind := 0, false
	h.cfg.Fresh = func(context.Context) error {
		asked++
		if behind {
			return errors.New("no standby has confirmed anything")
		}
		return nil
	}
	handler := New(h.cfg)
	status := func(method, path, authorization, body string) int {
		w, r := httptest.NewRecorder(), httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Authorization", authorization)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		handler.ServeHTTP(w, r)
		return w.Code
	}
	for _, wants := range []int{http.StatusOK, http.StatusServiceUnavailable} {
		for _, got := range []int{
			status("GET", "/v1/account", "Bearer "+h.words["key"], ""),
			status("POST", "/oauth/token", "Basic "+h.words["client.basic"], "grant_type=client_credentials"),
		} {
			if got != wants {
				t.Errorf("behind %t: answered %d, not %d", behind, got, wants)
			}
		}
		behind = true
	}
	if asked != 4 {
		t.Errorf("4 requests asked %d times", asked)
	}
	if got := status("GET", "/healthz", "", ""); got != http.StatusOK || asked != 4 {
		t.Errorf("/healthz answered %d and asked %d times", got, asked-4)
	}
}
