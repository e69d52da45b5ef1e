package http

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/golang-jwt/jwt/v5"

	"konto/commands"
	"konto/events"
)

// issuer is an authorization server that publishes keys.
type issuer struct {
	*httptest.Server
	fetches atomic.Int32
	asked   chan struct{} // a value for each fetch
	away    atomic.Bool
	mu      sync.Mutex
	keys    any
}

func newIssuer(t *testing.T) *issuer {
	i := &issuer{asked: make(chan struct{}, 100)}
	i.Server = httptest.NewServer(i)
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if i.away.Load() {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	if r.URL.Path == "/.well-known/openid-configuration" {
		_ = json.MarshalWrite(w, map[string]string{"issuer": i.URL, "jwks_uri": i.URL + "/keys", "token_endpoint": "x"})
		return
	}
	i.fetches.Add(1)
	i.asked <- struct{}{}
	i.mu.Lock()
	defer i.mu.Unlock()
	text, _ := json.Marshal(map[string]any{"keys": i.keys}, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	_, _ = w.Write(bytes.ReplaceAll(text, []byte("\ufffd"), []byte{0xff})) // Marshal replaced what is not UTF-8
}

// publish makes these the issuer's keys. Each is a result of shown, or a
// jsontext.Value.
func (i *issuer) publish(keys ...any) {
	i.show(keys)
}

// show makes this text the issuer's answer.
func (i *issuer) show(keys any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = keys
}

// shown returns a public key as a member of a set of keys.
func shown(kid string, key crypto.PublicKey) map[string]string {
	encode := base64.RawURLEncoding.EncodeToString
	switch key := key.(type) {
	case *rsa.PublicKey:
		return map[string]string{"kid": kid, "kty": "RSA", "use": "sig", "n": encode(key.N.Bytes()), "e": encode(big.NewInt(int64(key.E)).Bytes())}
	case *ecdsa.PublicKey:
		point, _ := key.Bytes()
		return map[string]string{"kid": kid, "kty": "EC", "crv": "P-256", "alg": "ES256", "x": encode(point[1:33]), "y": encode(point[33:])}
	}
	return map[string]string{"kid": kid, "kty": "OKP", "crv": "Ed25519", "x": encode(key.(ed25519.PublicKey))}
}

var (
	rsaKey     = sync.OnceValue(func() *rsa.PrivateKey { k, _ := rsa.GenerateKey(rand.Reader, 2048); return k })
	otherRSA   = sync.OnceValue(func() *rsa.PrivateKey { k, _ := rsa.GenerateKey(rand.Reader, 2048); return k })
	ecKey      = sync.OnceValue(func() *ecdsa.PrivateKey { k, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader); return k })
	edwardsKey = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
)

// jwtHarness is a harness that accepts an outside issuer's tokens, with its own clock.
type jwtHarness struct {
	*harness
	issuer *issuer
	later  atomic.Int64 // how far the clock is ahead, in ns
}

func newJWTHouse(t *testing.T) *jwtHarness {
	h := &jwtHarness{harness: newHarness(t), issuer: newIssuer(t)}
	h.harness.open("anna", commands.Open{Email: "anna@example.com", PaywayID: "50f3ac249f6aef294d000007"})
	h.issuer.publish(shown("rsa", rsaKey().Public()), shown("ec", ecKey().Public()), shown("ed", edwardsKey.Public()),
		map[string]string{"kid": "short", "kty": "RSA", "n": "_w", "e": "AQAB"}, map[string]string{"kid": "shared", "kty": "oct", "k": "c2VjcmV0"})
	h.cfg.Now = h.now
	h.cfg.ClientTokens = Issuer{URL: h.issuer.URL, Audience: "https://konto.example"}
	h.server = httptest.NewServer(New(h.cfg))
	t.Cleanup(h.server.Close)
	return h
}

func (h *jwtHarness) now() time.Time { return time.Now().Add(time.Duration(h.later.Load())) }

// claims returns the claims of a valid token, with changes. nil omits a claim.
func (h *jwtHarness) claims(changes jwt.MapClaims) jwt.MapClaims {
	c := jwt.MapClaims{
		"iss": h.issuer.URL, "aud": "https://konto.example", "sub": "shop", "scope": "/external/account/r /external/account/w",
		"exp": h.now().Add(time.Hour).Unix(),
	}
	for name, value := range changes {
		if c[name] = value; value == nil {
			delete(c, name)
		}
	}
	return c
}

func signed(t testing.TB, method jwt.SigningMethod, key any, header map[string]any, claims jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	for name, value := range header {
		token.Header[name] = value
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// read requests an account with a token and returns the status and Retry-After.
func (h *jwtHarness) read(token string) (status int, retryAfter string) {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), "GET", h.server.URL+"/external/api/v1/accounts?email=anna@example.com", nil)
	h.must(err)
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := h.server.Client().Do(r)
	h.must(err)
	answer.Body.Close()
	return answer.StatusCode, answer.Header.Get("Retry-After")
}

func TestWhichJWTsOfTheOutsideIssuerAreAccepted(t *testing.T) {
	h := newJWTHouse(t)
	type header = map[string]any
	rs, es, ed := jwt.SigningMethodRS256, jwt.SigningMethodES256, jwt.SigningMethodEdDSA
	in := func(d time.Duration) int64 { return h.now().Add(d).Unix() }
	for name, test := range map[string]struct {
		method jwt.SigningMethod
		key    any
		header header
		claims jwt.MapClaims
		want   int
	}{
		"RS256":                        {rs, rsaKey(), header{"kid": "rsa"}, nil, 200},
		"ES256":                        {es, ecKey(), header{"kid": "ec"}, nil, 200},
		"EdDSA":                        {ed, edwardsKey, header{"kid": "ed"}, nil, 200},
		"one audience of several":      {rs, rsaKey(), header{"kid": "rsa"}, jwt.MapClaims{"aud": []string{"x", "https://konto.example"}}, 200},
		"scopes as a list":             {rs, rsaKey(), header{"kid": "rsa"}, jwt.MapClaims{"scope": nil, "scp": []string{"/external/account/r"}}, 200},
		"named by client_id":           {rs, rsaKey(), header{"kid": "rsa"}, jwt.MapClaims{"sub": nil, "client_id": "shop"}, 200},
		"expired within the leeway":    {rs, rsaKey(), header{"kid": "rsa"}, jwt.MapClaims{"exp": in(-20 * time.Second)}, 200},
		"begins within the leeway":     {rs, rsaKey(), header{"kid": "rsa"}, jwt.MapClaims{"nbf": in(20 * time.Second)}, 200},
		"without the scope":            {rs, rsaKey(), header{"kid": "rsa"}, jwt.MapClaims{"scope": "/external/account/w"}, 403},
		"with a claim called Scope":    {rs, rsaKey(), header{"kid": "rsa"}, jwt.MapClaims{"scope": "", "Scope": "/external/account/r"}, 403},
		"expired":                      {rs, rsaKey(), header{"kid": "rsa"}, jwt.MapClaims{"exp": in(-time.Minute)}, 401},
		"without an end":               {rs, rsaKey(), header{"kid": "rsa"}, jwt.MapClaims{"exp": nil}, 401},
		"not yet begun":                {rs, rsaKey(), header{"kid": "rsa"}, jwt.MapClaims{"nbf": in(time.Minute)}, 401},
		"another audience's":           {rs, rsaKey(), header{"kid": "rsa"}, jwt.MapClaims{"aud": "https://other.example"}, 401},
		"without an audience":          {rs, rsaKey(), header{"kid": "rsa"}, jwt.MapClaims{"aud": nil}, 401},
		"another issuer's":             {rs, rsaKey(), header{"kid": "rsa"}, jwt.MapClaims{"iss": "https://other.example"}, 401},
		"konto's by its word":          {rs, rsaKey(), header{"kid": "rsa"}, jwt.MapClaims{"iss": tokenParty, "aud": tokenParty}, 401},
		"nobody's":                     {rs, rsaKey(), header{"kid": "rsa"}, jwt.MapClaims{"sub": nil}, 401},
		"signed by another":            {rs, otherRSA(), header{"kid": "rsa"}, nil, 401},
		"signed with another's key":    {es, ecKey(), header{"kid": "rsa"}, nil, 401},
		"by an algorithm not pinned":   {jwt.SigningMethodRS512, rsaKey(), header{"kid": "rsa"}, nil, 401},
		"with an unknown kid":          {rs, rsaKey(), header{"kid": "none"}, nil, 401},
		"without a kid":                {rs, rsaKey(), nil, nil, 401},
		"not signed":                   {jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, header{"kid": "rsa"}, nil, 401},
		"the public key as a secret":   {jwt.SigningMethodHS256, rsaKey().N.Bytes(), header{"kid": "rsa"}, nil, 401},
		"a published shared secret":    {jwt.SigningMethodHS256, []byte("secret"), header{"kid": "shared"}, nil, 401},
		"a header not understood":      {rs, rsaKey(), header{"kid": "rsa", "crit": []string{"b64"}, "b64": true}, nil, 401},
		"an alg that is not the sig's": {ed, edwardsKey, header{"kid": "rsa", "alg": "RS256"}, nil, 401},
	} {
		t.Run(name, func(t *testing.T) {
			if got, _ := h.read(signed(t, test.method, test.key, test.header, h.claims(test.claims))); got != test.want {
				t.Errorf("answered %d, want %d", got, test.want)
			}
		})
	}
}

// without returns a published key without one of its members.
func without(member string, key map[string]string) map[string]string {
	delete(key, member)
	return key
}

// TestUnusableKeyOfASetIsIgnored publishes each of these keys before and after a
// valid one. Some of them have its kid.
func TestUnusableKeyOfASetIsIgnored(t *testing.T) {
	for name, odd := range map[string]string{
		"an unknown type":              `{"kid":"rsa","kty":"AKP","alg":"ML-DSA-44","pub":"AA"}`,
		"an unknown curve":             `{"kid":"rsa","kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}`,
		"a curve that is not pinned":   `{"kid":"rsa","kty":"OKP","crv":"X25519","x":"AA"}`,
		"a shared secret":              `{"kid":"rsa","kty":"oct","k":"c2VjcmV0"}`,
		"a kid that is a number":       `{"kid":5,"kty":"RSA","n":"AQAB","e":"AQAB"}`,
		"a type that is a number":      `{"kid":"rsa","kty":5}`,
		"a use that is a list":         `{"kid":"rsa","kty":"RSA","use":["sig"],"n":"AQAB","e":"AQAB"}`,
		"a modulus that is a number":   `{"kid":"rsa","kty":"RSA","n":65537,"e":"AQAB"}`,
		"an exponent that is a number": `{"kid":"rsa","kty":"RSA","n":"AQAB","e":65537}`,
		"a modulus that is no base64":  `{"kid":"rsa","kty":"RSA","n":"!","e":"AQAB"}`,
		"a modulus that is too short":  `{"kid":"rsa","kty":"RSA","n":"AQAB","e":"AQAB"}`,
		"a point off the curve":        `{"kid":"rsa","kty":"EC","crv":"P-256","x":"AA","y":"AA"}`,
		"a certificate alone":          `{"kid":"rsa","kty":"RSA","x5c":["MIIB"],"x5t":"AA"}`,
		"a certificate that is a text": `{"kid":"rsa","kty":"RSA","x5c":"MIIB"}`,
		"for encryption":               `{"kid":"rsa","kty":"RSA","use":"enc","n":"AQAB","e":"AQAB"}`,
		"a member twice":               `{"kid":"rsa","kid":"rsa","kty":"RSA"}`,
		"a text that is not UTF-8":     "{\"kid\":\"\xff\",\"kty\":\"RSA\"}",
		"an empty object":              `{}`,
		"null":                         `null`,
		"a list":                       `[]`,
		"a text":                       `"rsa"`,
	} {
		t.Run(name, func(t *testing.T) {
			h := newJWTHouse(t)
			h.issuer.publish(jsontext.Value(odd), shown("rsa", rsaKey().Public()), jsontext.Value(odd))
			h.require(t, h.byRSA(t, "rsa"), 200)
		})
	}
}

func TestKeyNeedsNeitherAlgNorUse(t *testing.T) {
	h := newJWTHouse(t)
	h.issuer.publish(without("use", shown("rsa", rsaKey().Public())), without("alg", shown("ec", ecKey().Public())))
	h.require(t, h.byRSA(t, "rsa"), 200)
	h.require(t, signed(t, jwt.SigningMethodES256, ecKey(), map[string]any{"kid": "ec"}, h.claims(nil)), 200)
}

// TestKeysWithoutAKidVerifyTokensWithoutAKid also checks that a token with a kid is
// verified only by keys of that kid.
func TestKeysWithoutAKidVerifyTokensWithoutAKid(t *testing.T) {
	first, second := rsaKey(), otherRSA()
	kidless := func(key *rsa.PrivateKey) map[string]string { return without("kid", shown("", key.Public())) }
	none := map[string]any{}
	for name, test := range map[string]struct {
		published []any
		header    map[string]any
		want      int
	}{
		"a lone key":                        {[]any{kidless(first)}, none, 200},
		"a kid that is null":                {[]any{jsontext.Value(`{"kid":null,"kty":"RSA"}`), kidless(first)}, none, 200},
		"a lone key among odd ones":         {[]any{jsontext.Value(`{"kty":"oct","k":"AA"}`), kidless(first), jsontext.Value(`{"kid":5}`)}, none, 200},
		"beside keys with a kid":            {[]any{shown("ec", ecKey().Public()), kidless(first)}, none, 200},
		"another key without a kid":         {[]any{kidless(second), kidless(first)}, none, 200},
		"not the key that signed it":        {[]any{kidless(second)}, none, 401},
		"a token with a kid":                {[]any{kidless(first)}, map[string]any{"kid": "rsa"}, 401},
		"a token whose kid is a number":     {[]any{kidless(first)}, map[string]any{"kid": 5}, 401},
		"a token whose kid is null":         {[]any{kidless(first)}, map[string]any{"kid": nil}, 401},
		"a lone key with a kid, token none": {[]any{shown("rsa", first.Public())}, none, 401},
	} {
		t.Run(name, func(t *testing.T) {
			h := newJWTHouse(t)
			h.issuer.publish(test.published...)
			h.require(t, signed(t, jwt.SigningMethodRS256, first, test.header, h.claims(nil)), test.want)
		})
	}
}

func TestAllKeysOfOneKidAreTried(t *testing.T) {
	h := newJWTHouse(t)
	h.issuer.publish(shown("rsa", rsaKey().Public()), shown("rsa", otherRSA().Public()), shown("rsa", ecKey().Public()))
	header := map[string]any{"kid": "rsa"}
	h.require(t, h.byRSA(t, "rsa"), 200)
	h.require(t, signed(t, jwt.SigningMethodRS256, otherRSA(), header, h.claims(nil)), 200)
	h.require(t, signed(t, jwt.SigningMethodES256, ecKey(), header, h.claims(nil)), 200)
}

func TestAnswerWithoutASetOfKeysIsAFailedFetch(t *testing.T) {
	h := newJWTHouse(t)
	h.require(t, h.byRSA(t, "rsa"), 200)
	for _, answer := range []any{nil, "sorry", map[string]string{}} {
		h.issuer.show(answer)
		h.later.Add(int64(minFetchInterval))
		h.require(t, h.byRSA(t, "unknown"), 503)
		h.require(t, h.byRSA(t, "rsa"), 200)
	}
	h.issuer.publish()
	h.later.Add(int64(minFetchInterval))
	h.require(t, h.byRSA(t, "unknown"), 401)
	h.require(t, h.byRSA(t, "rsa"), 401)
}

func (h *jwtHarness) byRSA(t *testing.T, kid string) string {
	return signed(t, jwt.SigningMethodRS256, rsaKey(), map[string]any{"kid": kid}, h.claims(nil))
}

func (h *jwtHarness) require(t *testing.T, token string, want int) {
	t.Helper()
	if got, _ := h.read(token); got != want {
		t.Errorf("answered %d, want %d", got, want)
	}
}

func TestNewKeysAreFetchedAndWithdrawnKeysRemoved(t *testing.T) {
	h := newJWTHouse(t)
	h.require(t, h.byRSA(t, "rsa"), 200)
	h.issuer.publish(shown("new", rsaKey().Public()))
	h.require(t, h.byRSA(t, "new"), 401) // the last fetch was just now
	h.later.Add(int64(minFetchInterval))
	h.require(t, h.byRSA(t, "new"), 200)
	h.require(t, h.byRSA(t, "rsa"), 401)
}

func TestStaleKeysAreUsedWhileNewOnesAreFetched(t *testing.T) {
	h := newJWTHouse(t)
	h.require(t, h.byRSA(t, "rsa"), 200)
	h.later.Add(int64(keysFreshFor))
	h.issuer.away.Store(true)
	h.require(t, h.byRSA(t, "rsa"), 200) // tokens stay valid while the issuer is unreachable,
	h.later.Add(int64(keysUsableFor))
	h.require(t, h.byRSA(t, "rsa"), 503) // as long as a token lives
	h.issuer.away.Store(false)
	h.later.Add(int64(minFetchInterval))
	h.require(t, h.byRSA(t, "rsa"), 200)
}

func TestWithdrawnKeysAreRemovedInTheBackground(t *testing.T) {
	h := newJWTHouse(t)
	h.require(t, h.byRSA(t, "rsa"), 200)
	h.issuer.publish(shown("ec", ecKey().Public()))
	h.later.Add(int64(keysFreshFor))
	<-h.issuer.asked
	h.require(t, h.byRSA(t, "rsa"), 200) // starts a fetch and does not wait for it
	select {
	case <-h.issuer.asked:
	case <-time.After(10 * time.Second):
		t.Fatal("the use of keys that are no more fresh fetches none")
	}
	h.require(t, h.byRSA(t, "unknown"), 401) // waits for that fetch
	h.require(t, h.byRSA(t, "rsa"), 401)
}

func TestIssuerThatIsUnreachableAtTheStartIsNoFailure(t *testing.T) {
	h := newJWTHouse(t)
	h.issuer.away.Store(true)
	if status, retry := h.read(h.byRSA(t, "rsa")); status != 503 || retry != "10" {
		t.Errorf("answered %d, Retry-After %q", status, retry)
	}
	h.issuer.away.Store(false)
	h.later.Add(int64(minFetchInterval))
	h.require(t, h.byRSA(t, "rsa"), 200)
}

func TestManyUnknownKeysCauseOneFetch(t *testing.T) {
	h := newJWTHouse(t)
	var all sync.WaitGroup
	for n := range 100 {
		token := h.byRSA(t, "unknown-"+strconv.Itoa(n))
		all.Go(func() {
			if status, _ := h.read(token); status != 401 {
				t.Errorf("answered %d", status)
			}
		})
	}
	all.Wait()
	if n := h.issuer.fetches.Load(); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

func TestEventsRecordTheSubjectOfAJWT(t *testing.T) {
	h := newJWTHouse(t)
	before := h.head()
	x := &exchange{server: &server{Config: h.cfg, clients: newOutsideIssuer(&h.cfg, h.cfg.ClientTokens)}, contract: &payway, at: h.now()}
	x.r, x.w = httptest.NewRequestWithContext(t.Context(), "PUT", "/", nil), httptest.NewRecorder()
	var err error
	x.caller, err = x.identify(h.byRSA(t, "rsa"))
	h.must(err)
	want := events.Actor{Kind: "client", ID: "jwt:shop"}
	if got := x.metadata().Actor; got != want || x.caller.ID.IsZero() {
		t.Errorf("got %+v of %s", got, x.caller.ID)
	}
	other, err := x.identify(signed(t, jwt.SigningMethodRS256, rsaKey(), map[string]any{"kid": "rsa"}, h.claims(jwt.MapClaims{"sub": "kiosk"})))
	if err != nil || other.ID == x.caller.ID {
		t.Errorf("two callers share %s, %v", other.ID, err)
	}
	if h.head() != before {
		t.Error("something was stored")
	}
}

func TestIssuerNeedsAnAudience(t *testing.T) {
	for _, half := range []Issuer{{URL: "https://issuer.example"}, {Audience: "konto"}, {KeysURL: "https://issuer.example/keys"}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%+v is taken", half)
				}
			}()
			New(Config{ClientTokens: half})
		}()
	}
}
