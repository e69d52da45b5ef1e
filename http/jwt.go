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

	"konto/events"
	"konto/projections"
)

const (
	// jwtLeeway is how much the issuer's clock may differ from ours.
	jwtLeeway = 30 * time.Second
	// maxSubject is the longest name of a caller, in bytes, because events record it.
	maxSubject = 256
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

// newOutsideIssuer returns nil if cfg names no issuer. It panics if cfg names only
// one of issuer and audience, because a token for another audience must never be
// accepted.
func newOutsideIssuer(cfg *Config) *outsideIssuer {
	if cfg.JWTIssuer == "" && cfg.JWTAudience == "" && cfg.JWKSURL == "" {
		return nil
	}
	if cfg.JWTIssuer == "" || cfg.JWTAudience == "" {
		panic("JWTIssuer and JWTAudience come together")
	}
	keys := &keySet{
		issuer: cfg.JWTIssuer, url: cfg.JWKSURL, now: cfg.Now, log: cfg.Log, client: http.Client{Timeout: fetchTimeout},
	}
	return &outsideIssuer{name: cfg.JWTIssuer, keys: keys, parser: jwt.NewParser(
		jwt.WithValidMethods([]string{algRSA, algECDSA, algEdDSA}),
		jwt.WithIssuer(cfg.JWTIssuer), jwt.WithAudience(cfg.JWTAudience),
		jwt.WithExpirationRequired(), jwt.WithLeeway(jwtLeeway), jwt.WithStrictDecoding(), jwt.WithTimeFunc(cfg.Now),
	)}
}

// caller returns the client that a JWT names, with the token's scopes. The issuer
// decides who gets which scopes. Errors: errIssuerAway,
// projections.ErrUnauthenticated, the error of ctx.
func (o *outsideIssuer) caller(ctx context.Context, token string) (events.Credential, error) {
	parsed, err := o.parser.Parse(token, func(t *jwt.Token) (any, error) { return o.key(ctx, t) })
	switch {
	case ctx.Err() != nil:
		return events.Credential{}, ctx.Err()
	case errors.Is(err, errIssuerAway):
		return events.Credential{}, errIssuerAway
	case err != nil:
		return events.Credential{}, projections.ErrUnauthenticated
	}
	// Claims are read from the map, because a struct's members would match in any
	// letter case.
	claims := parsed.Claims.(jwt.MapClaims)
	name, _ := claims["sub"].(string)
	if name == "" {
		name, _ = claims["client_id"].(string)
	}
	if name == "" || len(name) > maxSubject {
		return events.Credential{}, projections.ErrUnauthenticated
	}
	return events.Credential{
		ID: o.id(name), Kind: events.KindClient, Name: name, AuthType: authJWT,
		Scopes: append(words(claims["scope"]), words(claims["scp"])...),
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
func (o *outsideIssuer) id(name string) (id ulid.ULID) {
	sum := sha256.Sum256([]byte(o.name + "\x00" + name))
	copy(id[:], sum[:])
	return id
}

// identify returns the credential that a bearer token stands for. The token is a
// credential's own token, an access token, or an outside issuer's JWT.
func (x *exchange) identify(token string) (events.Credential, error) {
	switch issuer := unverifiedIssuer(token); {
	case issuer == tokenParty && x.tokens != nil:
		return x.tokenClient(token)
	case issuer != "" && x.outside != nil:
		caller, err := x.outside.caller(x.r.Context(), token)
		if errors.Is(err, errIssuerAway) {
			x.w.Header().Set("Retry-After", strconv.Itoa(int(minFetchInterval.Seconds())))
		}
		return caller, err
	}
	return x.Access.Authenticate(x.r.Context(), token, x.at)
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
