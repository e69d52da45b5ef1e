package http

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/golang-jwt/jwt/v5"

	"konto/commands"
	"konto/events"
)

const forKonto = "https://konto.example/users"

// userHarness is a jwtHarness that also accepts tokens of an identity provider's users,
// one of whom is linked to anna's account.
type userHarness struct {
	*jwtHarness
	provider *issuer
}

func newUserHarness(t *testing.T, users UserIssuer) *userHarness {
	h := &userHarness{jwtHarness: newJWTHouse(t), provider: newIssuer(t)}
	h.open("eva", commands.Open{Email: "eva@example.com"})
	h.provider.publish(shown("rsa", rsaKey().Public()), shown("ec", ecKey().Public()))
	users.Issuer = Issuer{URL: h.provider.URL, Audience: forKonto}
	h.cfg.UserTokens = users
	h.cfg.RateLimit = RateLimit{}
	h.server = httptest.NewServer(New(h.cfg))
	t.Cleanup(h.server.Close)
	h.do("anna", commands.LinkIdentity{Identity: h.identity()})
	return h
}

func (h *userHarness) identity() events.Identity {
	return events.Identity{Issuer: h.provider.URL, Subject: "anna@idp.example"}
}

func (h *userHarness) do(account string, c commands.Command) {
	h.t.Helper()
	_, err := h.accounts.Do(h.t.Context(), h.ids[account], events.Metadata{}, c)
	h.must(err)
}

// token makes the word user a valid token, with changes of its claims.
func (h *userHarness) token(changes jwt.MapClaims) {
	claims := h.claims(jwt.MapClaims{"iss": h.provider.URL, "aud": forKonto, "sub": "anna@idp.example", "scope": "openid read:account write:account"})
	for name, value := range changes {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	h.words["user"] = signed(h.t, jwt.SigningMethodRS256, rsaKey(), map[string]any{"kid": "rsa"}, claims)
}

func (h *userHarness) wants(method, path, body string, status int) string {
	h.t.Helper()
	got, answer := h.send(method, path, "user", strings.NewReader(body))
	if got != status {
		h.t.Errorf("%s %s answered %d, want %d: %s", method, path, got, status, answer)
	}
	return answer
}

// TestUserTokenCountsAsAKeyOfItsAccount compares the answer to each request with the
// answer to a key of the account that has the same scopes.
func TestUserTokenCountsAsAKeyOfItsAccount(t *testing.T) {
	h := newUserHarness(t, UserIssuer{})
	h.token(nil)
	h.key("key", events.KeyIssued{Account: h.ids["anna"], Scopes: []string{"read:account", "write:account"}})
	for _, test := range []struct {
		method, path, body string
		want               int
	}{
		{"GET", "/api/v2/me", "", 200},
		{"PATCH", "/api/v2/me", `{"firstName":"Anna"}`, 200},
		{"POST", "/api/v2/me/actions/cancel-email-change", "{}", 200},
		{"GET", "/v1/account", "", 200},
		{"PATCH", "/v1/account", `{"name":"Anna Ek"}`, 200},
		{"PATCH", "/v1/account", `{"email":"anna.ek@example.com"}`, 200},
		{"GET", "/external/api/v1/accounts?email=anna.ek@example.com", "", 403},
		{"POST", "/external/api/v1/accounts", `{"email":"new@example.com","password":"correct horse"}`, 403},
		{"PUT", "/external/api/v1/accounts", `{"id":"50f3ac249f6aef294d000007","first_name":"Eva"}`, 403},
		{"PUT", "/external/api/v0/accounts", `{"id":"50f3ac249f6aef294d000007","first_name":"Eva"}`, 403},
	} {
		h.wants(test.method, test.path, test.body, test.want)
		if status, answer := h.send(test.method, test.path, "key", strings.NewReader(test.body)); status != test.want {
			t.Errorf("a key gets %d of %s %s: %s", status, test.method, test.path, answer)
		}
	}
	var me struct {
		ID       string   `json:"id"`
		AuthType string   `json:"authType"`
		Scopes   []string `json:"scopes"`
	}
	h.must(json.Unmarshal([]byte(h.wants("GET", "/api/v2/me", "", 200)), &me))
	if me.ID != "client_"+h.words["anna.id"] || me.AuthType != "api-key" || strings.Join(me.Scopes, " ") != "openid read:account write:account" {
		t.Errorf("%+v", me)
	}
}

func TestWhichUserTokensAreAccepted(t *testing.T) {
	h := newUserHarness(t, UserIssuer{})
	h.key("client", events.KeyIssued{Client: "c", Scopes: []string{"/external/account/r"}})
	for name, test := range map[string]struct {
		claims jwt.MapClaims
		want   int
	}{
		"one audience of several":   {jwt.MapClaims{"aud": []string{"x", forKonto}}, 200},
		"scopes as a list":          {jwt.MapClaims{"scope": nil, "scp": []string{"read:account"}}, 200},
		"expired within the leeway": {jwt.MapClaims{"exp": h.now().Add(-20 * time.Second).Unix()}, 200},
		"without the scope":         {jwt.MapClaims{"scope": "write:account"}, 403},
		"expired":                   {jwt.MapClaims{"exp": h.now().Add(-time.Minute).Unix()}, 401},
		"without an end":            {jwt.MapClaims{"exp": nil}, 401},
		"not yet begun":             {jwt.MapClaims{"nbf": h.now().Add(time.Minute).Unix()}, 401},
		"the clients' audience":     {jwt.MapClaims{"aud": "https://konto.example"}, 401},
		"without an audience":       {jwt.MapClaims{"aud": nil}, 401},
		"the clients' issuer":       {jwt.MapClaims{"iss": h.issuer.URL}, 401},
		"another issuer":            {jwt.MapClaims{"iss": "https://other.example"}, 401},
		"konto by its word":         {jwt.MapClaims{"iss": tokenParty}, 401},
		"a subject nobody linked":   {jwt.MapClaims{"sub": "eva@idp.example"}, 401},
		"another spelling":          {jwt.MapClaims{"sub": "Anna@idp.example"}, 401},
		"without a subject":         {jwt.MapClaims{"sub": nil}, 401},
		"a client_id is no subject": {jwt.MapClaims{"sub": nil, "client_id": "anna@idp.example"}, 401},
		"an account in the subject": {jwt.MapClaims{"sub": "acct_" + h.words["anna.id"]}, 401},
	} {
		t.Run(name, func(t *testing.T) {
			h.token(test.claims)
			if status, answer := h.send("GET", "/v1/account", "user", nil); status != test.want {
				t.Errorf("answered %d, want %d: %s", status, test.want, answer)
			}
		})
	}
	claims := h.claims(jwt.MapClaims{"iss": h.provider.URL, "aud": forKonto, "sub": "anna@idp.example", "scope": "read:account"})
	kid := map[string]any{"kid": "rsa"}
	for name, token := range map[string]string{
		"signed by another":          signed(t, jwt.SigningMethodRS256, otherRSA(), kid, claims),
		"by an algorithm not pinned": signed(t, jwt.SigningMethodRS512, rsaKey(), kid, claims),
		"not signed":                 signed(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, kid, claims),
		"the public key as a secret": signed(t, jwt.SigningMethodHS256, rsaKey().N.Bytes(), kid, claims),
		"a header not understood":    signed(t, jwt.SigningMethodRS256, rsaKey(), map[string]any{"kid": "rsa", "crit": []string{"b64"}}, claims),
		"a key of the clients' only": signed(t, jwt.SigningMethodEdDSA, edwardsKey, map[string]any{"kid": "ed"}, claims),
	} {
		t.Run(name, func(t *testing.T) {
			h.words["user"] = token
			if status, answer := h.send("GET", "/v1/account", "user", nil); status != 401 {
				t.Errorf("answered %d: %s", status, answer)
			}
		})
	}
}

// A client with the same issuer's name for its tokens would otherwise be an account holder, or
// the reverse.
func TestTwoIssuersDoNotCountForEachOther(t *testing.T) {
	h := newUserHarness(t, UserIssuer{})
	h.token(jwt.MapClaims{"scope": "/external/account/r", "aud": []string{forKonto, "https://konto.example"}})
	h.wants("GET", "/external/api/v1/accounts?email=anna@example.com", "", 403)
	h.require(t, h.byRSA(t, "rsa"), 200)
	defer func() {
		if recover() == nil {
			t.Error("one issuer for both is taken")
		}
	}()
	h.cfg.UserTokens.URL = h.cfg.ClientTokens.URL
	New(h.cfg)
}

func TestUnlinkedAndErasedAccountsAreRefusedAlike(t *testing.T) {
	h := newUserHarness(t, UserIssuer{})
	h.token(jwt.MapClaims{"sub": "nobody"})
	unknown := h.wants("GET", "/v1/account", "", 401)
	alike := func(what string) {
		t.Helper()
		if answer := h.wants("GET", "/v1/account", "", 401); answer != unknown {
			t.Errorf("%s is told: %s, not %s", what, answer, unknown)
		}
	}
	h.token(nil)
	h.wants("GET", "/api/v2/me", "", 200)
	h.do("anna", commands.UnlinkIdentity{Identity: h.identity()})
	alike("an unlinked user")
	h.do("eva", commands.LinkIdentity{Identity: h.identity()})
	if answer := h.wants("GET", "/v1/account", "", 200); !strings.Contains(answer, "acct_"+h.words["eva.id"]) {
		t.Errorf("the link moved, but the answer is %s", answer)
	}
	h.erase("eva") // by an append that keeps the claim
	alike("the user of an erased account")
	h.do("anna", commands.LinkIdentity{Identity: events.Identity{Issuer: h.provider.URL, Subject: "second"}})
	h.token(jwt.MapClaims{"sub": "second"})
	h.wants("GET", "/api/v2/me", "", 200)
	h.do("anna", commands.Erase{})
	alike("the user of an erased account whose claims are released")
}

// TestMovedLinkDoesNotRepeatTheOtherAccountsAnswer sends one request with one
// Idempotency-Key before and after the user is linked to another account.
func TestMovedLinkDoesNotRepeatTheOtherAccountsAnswer(t *testing.T) {
	h := newUserHarness(t, UserIssuer{})
	h.token(nil)
	update := func() string {
		t.Helper()
		status, answer := h.send("PATCH", "/v1/account", "user", strings.NewReader(`{"name":"A B"}`), "Idempotency-Key", "one")
		if status != 200 {
			t.Fatalf("%d %s", status, answer)
		}
		return answer
	}
	before := h.head()
	if first := update(); update() != first || h.head() != before+1 {
		t.Error("a repeated request has another answer, or is stored twice")
	}
	h.do("anna", commands.UnlinkIdentity{Identity: h.identity()})
	h.do("eva", commands.LinkIdentity{Identity: h.identity()})
	if answer := update(); !strings.Contains(answer, "eva@example.com") {
		t.Errorf("answered %s", answer)
	}
}

func TestScopesOfAnIdentityProviderAreMapped(t *testing.T) {
	h := newUserHarness(t, UserIssuer{Scopes: []ScopeMapping{
		{"profile", "read:account"}, {"https://api.example/full", "read:account"}, {"https://api.example/full", "write:account"},
	}})
	for scope, want := range map[string][2]int{
		"profile":                          {200, 403},
		"https://api.example/full":         {200, 200},
		"profile https://api.example/full": {200, 200},
		"read:account write:account":       {403, 403},
		"":                                 {403, 403},
	} {
		h.token(jwt.MapClaims{"scope": scope})
		h.wants("GET", "/v1/account", "", want[0])
		h.wants("PATCH", "/v1/account", `{"name":"Anna Ek"}`, want[1])
	}
	h.token(jwt.MapClaims{"scope": "profile https://api.example/full"})
	if answer := h.wants("GET", "/api/v2/me", "", 200); !strings.Contains(answer, `"scopes":["read:account","write:account"]`) {
		t.Errorf("%s", answer)
	}
}

func TestParseScopeMapping(t *testing.T) {
	for text, want := range map[string]ScopeMapping{
		"profile=read:account":  {"profile", "read:account"},
		"a=b=write:account":     {"a=b", "write:account"},
		"profile":               {},
		"=read:account":         {},
		"profile=":              {},
		"profile=openid":        {},
		"x=/external/account/r": {},
	} {
		if got, err := ParseScopeMapping(text); got != want || (err == nil) != (want != ScopeMapping{}) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

func TestAccountClaimNamesTheAccountInEveryForm(t *testing.T) {
	h := newUserHarness(t, UserIssuer{AccountClaim: "https://konto.example/account"})
	id := h.words["anna.id"]
	for _, test := range []struct {
		claim any
		want  int
	}{
		{id, 200},
		{strings.ToUpper(id), 200},
		{"client_" + id, 200},
		{"acct_" + id, 200},
		{"50f3ac249f6aef294d000007", 200},
		{"50F3AC249F6AEF294D000007", 200},
		{nil, 401}, // anna's subject is linked, but the claim decides
		{"", 401},
		{7, 401},
		{[]string{id}, 401},
		{"anna@example.com", 401},
		{"acct_" + events.CredentialStream(h.ids["anna"]), 401},
		{"01hxa3b4c5d6e7f8g9h0j1k2m3", 401},
		{"000000000000000000000000", 401},
	} {
		h.token(jwt.MapClaims{"sub": "somebody", "https://konto.example/account": test.claim})
		h.wants("GET", "/v1/account", "", test.want)
	}
	h.token(jwt.MapClaims{"sub": nil, "https://konto.example/account": id})
	h.wants("GET", "/v1/account", "", 401)
	h.token(jwt.MapClaims{"https://konto.example/account": id})
	h.do("anna", commands.Erase{})
	h.wants("GET", "/v1/account", "", 401)
}

func TestEventsOfAUserTokenNameTheAccountAndNotTheSubject(t *testing.T) {
	h := newUserHarness(t, UserIssuer{})
	h.token(nil)
	before := h.head()
	h.wants("PATCH", "/api/v2/me", `{"firstName":"Anna"}`, 200)
	stored := h.since(before)
	want := events.Actor{Kind: "account", ID: "jwt:" + h.ids["anna"].String()}
	if len(stored) != 1 || stored[0].Metadata.Actor != want {
		t.Errorf("stored %+v", stored)
	}
}

func TestIdentityProviderThatIsUnreachableIsA503(t *testing.T) {
	h := newUserHarness(t, UserIssuer{})
	h.provider.away.Store(true)
	h.token(nil)
	h.wants("GET", "/v1/account", "", 503)
	if _, retry := h.read(h.words["user"]); retry != "10" {
		t.Errorf("Retry-After is %q", retry)
	}
	h.require(t, h.byRSA(t, "rsa"), 200) // the clients' issuer is another one
	h.provider.away.Store(false)
	h.later.Add(int64(minFetchInterval))
	h.wants("GET", "/v1/account", "", 200)
}

// Each user has a limit of their own, whoever else uses the same provider.
func TestRateLimitOfUserTokens(t *testing.T) {
	h := newUserHarness(t, UserIssuer{})
	h.do("eva", commands.LinkIdentity{Identity: events.Identity{Issuer: h.provider.URL, Subject: "eva"}})
	limit, err := ParseRateLimit("2/m")
	h.must(err)
	h.cfg.RateLimit = limit
	h.server = httptest.NewServer(New(h.cfg))
	t.Cleanup(h.server.Close)
	h.token(nil)
	for _, want := range []int{200, 200, 429} {
		h.wants("GET", "/v1/account", "", want)
	}
	h.token(jwt.MapClaims{"sub": "eva"})
	h.wants("GET", "/v1/account", "", 200)
}
