package http

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"konto/commands"
	"konto/events"
)

// emailWays lists all ways in which a contract can set an account's address.
var emailWays = map[string]struct{ method, path, key, body string }{
	"HostUp":         {"POST", "/api/v2/me/actions/change-email", "elevated", `{"newEmail":%s}`},
	"generic":        {"PATCH", "/v1/account", "key", `{"email":%s}`},
	"Payway":         {"PUT", "/external/api/v1/accounts", "client", `{"id":"50f3ac249f6aef294d000007","email":%s}`},
	"Payway earlier": {"PUT", "/external/api/v0/accounts", "client", `{"id":"50f3ac249f6aef294d000007","email":%s}`},
	"Payway's POST":  {"POST", "/external/api/v1/accounts", "client", `{"email":%s,"password":"en lång häst som springer"}`},
}

func TestInvalidEmailIsRefusedByEveryContract(t *testing.T) {
	for _, policy := range []EmailChangePolicy{EmailDirect, EmailVerify} {
		h := anna(t)
		h.cfg.EmailChangePolicy = policy
		h.server.Config.Handler = New(h.cfg)
		before := h.head()
		for name, way := range emailWays {
			for _, email := range []string{
				"<eva@example.com>", "a,b@example.com", "eva@example.com;b", "eva@exam%00ple.com", "ev..a@example.com", ".eva@example.com",
				"eva@-example-.com", "eva@[192.0.2.1]", `"eva"@example.com`, "eva@exam\u200bple.com", "e\u202eva@example.com", "eva@exa\u00admple.com",
			} {
				quoted, _ := json.Marshal(email)
				status, answer := h.send(way.method, way.path, way.key, strings.NewReader(fmt.Sprintf(way.body, quoted)))
				if status != 400 && status != 422 || !strings.Contains(strings.ToLower(answer), "email") {
					t.Errorf("%s, %s: %+q: %d %s", name, policy, email, status, answer)
				}
			}
		}
		if got := h.since(before); len(got) > 0 {
			t.Errorf("%d events came of them", len(got))
		}
	}
}

func TestEmailsOfTheContractsExamplesAreAccepted(t *testing.T) {
	for name, way := range emailWays {
		for _, email := range []string{"adeprimo.servicedesk@no-reply.com", "new_email@example.com", strings.Repeat("a", 1015) + "@a.example"[:9]} {
			h := anna(t)
			quoted, _ := json.Marshal(email)
			if status, answer := h.send(way.method, way.path, way.key, strings.NewReader(fmt.Sprintf(way.body, quoted))); status >= 300 {
				t.Errorf("%s: %.40s: %d %s", name, email, status, answer)
			}
		}
	}
}

func TestSpellingsOfOneEmailAreOneAddress(t *testing.T) {
	h := anna(t)
	h.open("owner", commands.Open{Email: "jos\u00e9@b\u00fccher.example", PaywayID: "50f3ac249f6aef294d00000a"})
	h.open("boss", commands.Open{Email: "boss@github.example", PaywayID: "50f3ac249f6aef294d00000b"})
	h.key("reader", events.KeyIssued{Client: "shop", Scopes: []string{"/external/account/r"}})
	found := func(email, paywayID string) {
		t.Helper()
		status, answer := h.send("GET", "/external/api/v1/accounts?email="+url.QueryEscape(email), "reader", nil)
		if paywayID == "" && status != 404 || paywayID != "" && (status != 200 || !strings.Contains(answer, paywayID)) {
			t.Errorf("%+q: %d %s", email, status, answer)
		}
	}
	found("jos\u00e9@B\u00dcCHER\u3002example", "50f3ac249f6aef294d00000a")
	for _, spelling := range []string{"JOSE\u0301@xn--bcher-kva.example", "jos\u00e9@B\u00dcCHER.example", "jos\u00e9@bu\u0308cher.ex\uff41mple"} {
		found(spelling, "50f3ac249f6aef294d00000a")
		for _, way := range []string{"HostUp", "generic"} {
			way, quoted := emailWays[way], fmt.Sprintf("%q", spelling)
			if status, answer := h.send(way.method, way.path, way.key, strings.NewReader(fmt.Sprintf(way.body, quoted))); status != 409 {
				t.Errorf("%+q: %d %s", spelling, status, answer)
			}
		}
	}
	for _, other := range []string{"boss@g\u0130thub.example", "boss@g\u0131thub.example", "bo\u017fs@github.example"} {
		found(other, "")
	}
	found("BOSS@GitHub.Example", "50f3ac249f6aef294d00000b")

	// An address of another domain belongs to nobody.
	if status, answer := h.send("PATCH", "/v1/account", "key", strings.NewReader(`{"email":"boss@g`+"\u0130"+`thub.example"}`)); status != 200 {
		t.Errorf("%d %s", status, answer)
	}
	found("boss@g\u0130thub.example", "50f3ac249f6aef294d000007")
	found("boss@github.example", "50f3ac249f6aef294d00000b")

	// Another spelling of the own address is a change, and is shown as it was written.
	before := h.head()
	for _, spelling := range []string{"boss@xn--github-qyd.example", "Boss@g\u0130thub.example"} {
		status, answer := h.send("PATCH", "/v1/account", "key", strings.NewReader(`{"email":"`+spelling+`"}`))
		if status != 200 || !strings.Contains(answer, `"email":"`+spelling+`"`) {
			t.Errorf("%+q: %d %s", spelling, status, answer)
		}
	}
	if got := h.since(before); len(got) != 2 || got[1].Type != events.TypeEmailChanged {
		t.Errorf("%d events", len(got))
	}
}
