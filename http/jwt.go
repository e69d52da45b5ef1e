package http

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/oklog/ulid/v2"

	"konto/commands"
	"konto/events"
	"konto/projections"
)

const (
	// jwtLeeway is how much the issuer's clock may differ from ours.
	jwtLeeway = 30 * time.Second
	// authJWT is the AuthType of a caller with an outside issuer's JWT.
	authJWT = "jwt"
)

var errUnreadableHeader = errors.New("JWT has a header that changes its meaning")

// outsideIssuer is an authorization server other than konto, whose JWTs are accepted.
type outsideIssuer struct {
	name   string // the iss of its tokens
	keys   *keySet
	parser *jwt.Parser
}

// Issuer is an authorization server other than konto. The zero value is none.
type Issuer struct {
	// URL is the iss of its tokens, and Audience is konto's name there. Set both or
	// neither.
	URL, Audience string
	// KeysURL is where the issuer publishes its keys. "" means where its OpenID
	// metadata says.
	KeysURL string
}

// newOutsideIssuer returns nil if there is no issuer. It panics if only one of URL
// and Audience is set, because a token for another audience must never be accepted.
func newOutsideIssuer(cfg *Config, i Issuer) *outsideIssuer {
	if i == (Issuer{}) {
		return nil
	}
	if i.URL == "" || i.Audience == "" {
		panic("URL and Audience of an issuer come together")
	}
	keys := &keySet{issuer: i.URL, url: i.KeysURL, now: cfg.Now, log: cfg.Log, client: http.Client{Timeout: fetchTimeout}}
	return &outsideIssuer{name: i.URL, keys: keys, parser: jwt.NewParser(
		jwt.WithValidMethods([]string{algRSA, algECDSA, algEdDSA}),
		jwt.WithIssuer(i.URL), jwt.WithAudience(i.Audience),
		jwt.WithExpirationRequired(), jwt.WithLeeway(jwtLeeway), jwt.WithStrictDecoding(), jwt.WithTimeFunc(cfg.Now),
	)}
}

// verify returns the claims of a JWT. They are read from a map, because a struct's
// members would match in any letter case. Errors: errIssuerAway,
// projections.ErrUnauthenticated, the error of ctx.
func (o *outsideIssuer) verify(ctx context.Context, token string) (jwt.MapClaims, error) {
	parsed, err := o.parser.Parse(token, func(t *jwt.Token) (any, error) { return o.key(ctx, t) })
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, errIssuerAway):
		return nil, errIssuerAway
	case err != nil:
		return nil, projections.ErrUnauthenticated
	}
	return parsed.Claims.(jwt.MapClaims), nil
}

// client returns the client that a JWT's claims name, with the token's scopes. The
// issuer decides who gets which scopes.
func (o *outsideIssuer) client(claims jwt.MapClaims) (events.Credential, error) {
	name, _ := claims["sub"].(string)
	if name == "" {
		name, _ = claims["client_id"].(string)
	}
	if name == "" || len(name) > commands.MaxSubject {
		return events.Credential{}, projections.ErrUnauthenticated
	}
	return events.Credential{
		ID: o.id(name), Kind: events.KindClient, Name: name, AuthType: authJWT, Scopes: scopesOf(claims),
	}, nil
}

// key returns the public keys that may verify the token.
func (o *outsideIssuer) key(ctx context.Context, t *jwt.Token) (any, error) {
	// RFC 7515, section 4.1.11: a reader must understand what crit lists.
	if _, critical := t.Header["crit"]; critical {
		return nil, errUnreadableHeader
	}
	kid, isText := t.Header["kid"].(string)
	if _, given := t.Header["kid"]; given && !isText {
		return nil, errUnreadableHeader
	}
	return o.keys.find(ctx, keyName{kid: kid, alg: t.Method.Alg()})
}

// id returns an id for a caller who has no credential here. Rate limits and
// idempotency keys distinguish callers by such ids.
func (o *outsideIssuer) id(names ...string) (id ulid.ULID) {
	sum := sha256.Sum256([]byte(o.name + "\x00" + strings.Join(names, "\x00")))
	copy(id[:], sum[:])
	return id
}

// identify returns the credential that a bearer token stands for. The token is a
// credential's own token, an access token, or an outside issuer's JWT.
func (x *exchange) identify(token string) (events.Credential, error) {
	switch issuer := unverifiedIssuer(token); {
	case issuer == tokenParty && x.tokens != nil:
		return x.tokenClient(token)
	case x.users != nil && issuer == x.users.name:
		return x.verified(x.users, token, x.holder)
	case issuer != "" && x.clients != nil:
		return x.verified(x.clients, token, x.clients.client)
	}
	return x.Access.Authenticate(x.r.Context(), token, x.at)
}

// verified verifies an issuer's JWT and returns the caller whom its claims name.
func (x *exchange) verified(by *outsideIssuer, token string, caller func(jwt.MapClaims) (events.Credential, error)) (events.Credential, error) {
	claims, err := by.verify(x.r.Context(), token)
	if errors.Is(err, errIssuerAway) {
		x.w.Header().Set("Retry-After", strconv.Itoa(int(minFetchInterval.Seconds())))
	}
	if err != nil {
		return events.Credential{}, err
	}
	return caller(claims)
}

// unverifiedIssuer returns the issuer that a token names, which only decides who
// verifies it. It returns "" if the token is not a JWT.
func unverifiedIssuer(token string) string {
	if strings.Count(token, ".") != 2 {
		return ""
	}
	var claims jwt.RegisteredClaims
	if _, _, err := jwt.NewParser().ParseUnverified(token, &claims); err != nil {
		return ""
	}
	return claims.Issuer
}

// scopesOf returns the scopes of a JWT, from the claims in which issuers write them.
func scopesOf(claims jwt.MapClaims) []string {
	return append(words(claims["scope"]), words(claims["scp"])...)
}

// words splits a claim of scopes: a text with spaces (RFC 8693, section 4.2), or a
// list, as in some issuers' scp.
func words(claim any) []string {
	switch claim := claim.(type) {
	case string:
		return strings.Fields(claim)
	case []any:
		var all []string
		for _, one := range claim {
			all = append(all, words(one)...)
		}
		return all
	}
	return nil
}
