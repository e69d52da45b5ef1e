package http

import (
	"context"
	"crypto/sha256"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/projections"
)

const (
	// jwtLeeway is how far the issuer's clock may be from ours.
	jwtLeeway = 30 * time.Second
	// maxSubject bounds the name of a caller, in bytes: events remember it.
	maxSubject = 256
	// authJWT is the AuthType of a caller with an outside issuer's token.
	authJWT = "jwt"
)

var errUnreadableHeader = errors.New("JWT has a header that changes its meaning")

// outsideIssuer is an authorization server that is not ours, whose JWTs are taken.
type outsideIssuer struct {
	name   string // the iss of its tokens
	keys   *keySet
	parser *jwt.Parser
}

// newOutsideIssuer returns nil when cfg names none. It panics when it names an
// issuer without an audience or the other way round: a token that is meant for
// somebody else must never be taken.
func newOutsideIssuer(cfg *Config) *outsideIssuer {
	if cfg.JWTIssuer == "" && cfg.JWTAudience == "" && cfg.JWKSURL == "" {
		return nil
	}
	if cfg.JWTIssuer == "" || cfg.JWTAudience == "" {
		panic("JWTIssuer and JWTAudience come together")
	}
	return &outsideIssuer{name: cfg.JWTIssuer, keys: newKeySet(cfg), parser: jwt.NewParser(
		jwt.WithValidMethods([]string{algRSA, algECDSA, algEdDSA}),
		jwt.WithIssuer(cfg.JWTIssuer), jwt.WithAudience(cfg.JWTAudience),
		jwt.WithExpirationRequired(), jwt.WithLeeway(jwtLeeway), jwt.WithStrictDecoding(), jwt.WithTimeFunc(cfg.Now),
	)}
}

// caller returns the client that a JWT names, with the token's scopes: whom
// they are given to is the issuer's decision. Errors: errIssuerAway,
// projections.ErrUnauthenticated, ctx's own.
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
	// Claims are taken from the map, since a struct's would match in any case.
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

func (o *outsideIssuer) key(ctx context.Context, t *jwt.Token) (any, error) {
	// RFC 7515, section 4.1.11: what crit lists must be understood.
	if _, critical := t.Header["crit"]; critical {
		return nil, errUnreadableHeader
	}
	kid, isText := t.Header["kid"].(string)
	if _, given := t.Header["kid"]; given && !isText {
		return nil, errUnreadableHeader
	}
	return o.keys.find(ctx, keyName{kid: kid, alg: t.Method.Alg()})
}

// id stands for a caller who has no credential here, wherever callers are told
// apart by their credential's id, as rate limits do.
func (o *outsideIssuer) id(name string) (id ulid.ULID) {
	sum := sha256.Sum256([]byte(o.name + "\x00" + name))
	copy(id[:], sum[:])
	return id
}

// identify finds out whose a bearer token is: a credential's own, an access
// token, or the outside issuer's.
func (x *exchange) identify(token string) (events.Credential, error) {
	switch issuer := claimedIssuer(token); {
	case issuer == tokenParty && x.tokens != nil:
		return x.tokenClient(token)
	case issuer != "" && x.outside != nil:
		who, err := x.outside.caller(x.r.Context(), token)
		if errors.Is(err, errIssuerAway) {
			x.w.Header().Set("Retry-After", strconv.Itoa(int(fetchPause.Seconds())))
		}
		return who, err
	}
	return x.Access.Authenticate(x.r.Context(), token, x.at)
}

// claimedIssuer is who a token says it is from, which only tells who is to check
// it; "" when it is no JWT.
func claimedIssuer(token string) string {
	if strings.Count(token, ".") != 2 {
		return ""
	}
	var claims jwt.RegisteredClaims
	if _, _, err := jwt.NewParser().ParseUnverified(token, &claims); err != nil {
		return ""
	}
	return claims.Issuer
}

// words splits a claim of scopes: a text with spaces between them (RFC 8693,
// section 4.2), or a list, as some issuers' scp.
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
