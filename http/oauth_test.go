package http

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"konto/commands"
	"konto/events"
	"konto/eventstore"
	"konto/projections"
)

func TestTokenEndpointHasOneRowForEachError(t *testing.T) {
	for i, row := range oauthErrors[:len(oauthErrors)-1] {
		if found := oauthErrors.find(row.err); found != row {
			t.Errorf("row %d for %q is never found", i, row.err)
		}
	}
	for _, err := range []error{errContentType, errContentEncoding, errMalformed, errTooLarge, errTooSlow, errRateLimited, errNoCredential, errScheme, errForbidden, errScope, errGrantType, errMethod, errNoRoute} {
		if row := oauthErrors.find(err); row.err == nil || row.status >= 500 {
			t.Errorf("%q is answered with %+v", err, row)
		}
	}
	if row := oauthErrors.find(eventstore.ErrClosed); row.err != nil || row.status != http.StatusInternalServerError {
		t.Errorf("another error is answered with %+v", row)
	}
}

func TestBasicCredentialsAreFormEncoded(t *testing.T) {
	encode := base64.StdEncoding.EncodeToString
	id, secret, err := basicCredentials("basic  " + encode([]byte("a%3Ab:c%2Bd+e:f")))
	if id != "a:b" || secret != "c+d e:f" || err != nil {
		t.Errorf("got %q and %q, %v", id, secret, err)
	}
	for header, want := range map[string]error{
		"Basic " + encode([]byte("a%:b")): projections.ErrUnauthenticated, "Basic ?": projections.ErrUnauthenticated,
		"": errScheme, "Bearer x": errScheme, encode([]byte("a:b")): errScheme,
	} {
		if _, _, err := basicCredentials(header); !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", header, err, want)
		}
	}
}

// accessHarness has a client, and the claims of a token for it.
func accessHarness(t *testing.T) (*jwtHarness, jwt.MapClaims) {
	h := newJWTHouse(t)
	h.key("client", events.KeyIssued{Client: "client", Scopes: []string{"/external/account/r"}})
	h.key("key", events.KeyIssued{Account: h.ids["anna"], Scopes: []string{"read:account"}})
	now := h.now()
	return h, jwt.MapClaims{
		"iss": tokenParty, "aud": tokenParty, "client_id": h.words["client.credential"], "scope": "/external/account/r",
		"exp": now.Add(time.Hour).Unix(),
	}
}

func TestWhichAccessTokensAreAccepted(t *testing.T) {
	h, good := accessHarness(t)
	type header = map[string]any
	own, access := h.cfg.TokenKey, header{"typ": accessTokenType}
	hs := jwt.SigningMethodHS256
	for name, test := range map[string]struct {
		method  jwt.SigningMethod
		key     any
		header  header
		changes jwt.MapClaims
		want    int
	}{
		"konto's":                       {hs, own, access, nil, 200},
		"another key's":                 {hs, make([]byte, 32), access, nil, 401},
		"not signed":                    {jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, access, nil, 401},
		"by another algorithm":          {jwt.SigningMethodHS512, own, access, nil, 401},
		"of another type":               {hs, own, header{"typ": "JWT"}, nil, 401},
		"for another audience":          {hs, own, access, jwt.MapClaims{"aud": "other"}, 401},
		"from another issuer":           {hs, own, access, jwt.MapClaims{"iss": "other"}, 401},
		"expired":                       {hs, own, access, jwt.MapClaims{"exp": h.now().Add(-time.Second).Unix()}, 401},
		"without an end":                {hs, own, access, jwt.MapClaims{"exp": nil}, 401},
		"nobody's":                      {hs, own, access, jwt.MapClaims{"client_id": nil}, 401},
		"an unknown client's":           {hs, own, access, jwt.MapClaims{"client_id": "01HXA3B4C5D6E7F8G9H0J1K2M3"}, 401},
		"an account's key's":            {hs, own, access, jwt.MapClaims{"client_id": h.words["key.credential"]}, 401},
		"without the scope":             {hs, own, access, jwt.MapClaims{"scope": ""}, 403},
		"the outside issuer's by claim": {hs, own, access, jwt.MapClaims{"iss": h.issuer.URL}, 401},
	} {
		t.Run(name, func(t *testing.T) {
			claims := jwt.MapClaims{}
			for claim, value := range good {
				claims[claim] = value
			}
			for claim, value := range test.changes {
				if claims[claim] = value; value == nil {
					delete(claims, claim)
				}
			}
			h.require(t, signed(t, test.method, test.key, test.header, claims), test.want)
		})
	}
}

func TestAccessTokenHasOnlyScopesOfItsClient(t *testing.T) {
	h, claims := accessHarness(t)
	claims["scope"] = "/external/account/r /external/account/w"
	token := signed(t, jwt.SigningMethodHS256, h.cfg.TokenKey, map[string]any{"typ": accessTokenType}, claims)
	h.require(t, token, 200)
	body := `{"email":"eva@example.com","password":"123456"}`
	r, err := http.NewRequestWithContext(t.Context(), "POST", h.server.URL+"/external/api/v1/accounts", strings.NewReader(body))
	h.must(err)
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", mediaJSON)
	answer, err := h.server.Client().Do(r)
	h.must(err)
	answer.Body.Close()
	if answer.StatusCode != http.StatusForbidden {
		t.Errorf("answered %d", answer.StatusCode)
	}
	if _, err := h.accounts.Find(t.Context(), events.EmailClaim("eva@example.com")); !errors.Is(err, commands.ErrNotFound) {
		t.Errorf("the account was made: %v", err)
	}
}

func TestAccessTokenExpiresWhenItSays(t *testing.T) {
	h, _ := accessHarness(t)
	tokens := newAccessTokens(h.cfg.TokenKey, 0, h.now)
	token, err := tokens.issue(h.ids["client"], []string{"/external/account/r"}, h.now())
	h.must(err)
	h.later.Add(int64(time.Hour - 10*time.Second))
	h.require(t, token, 200)
	h.later.Add(int64(10 * time.Second))
	h.require(t, token, 401)
}

func TestAccessTokensAreValidForOneToTwoHours(t *testing.T) {
	for ttl, ok := range map[time.Duration]bool{0: true, time.Hour: true, 2 * time.Hour: true, time.Minute: false, 3 * time.Hour: false} {
		func() {
			defer func() {
				if (recover() == nil) != ok {
					t.Errorf("%s", ttl)
				}
			}()
			newAccessTokens(make([]byte, 32), ttl, time.Now)
		}()
	}
}

func TestWithoutAKeyThereIsNoTokenEndpoint(t *testing.T) {
	h := anna(t)
	h.cfg.TokenKey = nil
	w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "/oauth/token", strings.NewReader("grant_type=client_credentials"))
	New(h.cfg).ServeHTTP(w, r)
	if w.Code != http.StatusNotFound {
		t.Errorf("answered %d", w.Code)
	}
}
