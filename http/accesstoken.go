package http

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/projections"
)

const (
	// tokenParty issues access tokens and is their audience.
	tokenParty = "konto"
	// accessTokenType keeps other JWTs that the same key may sign one day from
	// being taken for access tokens (RFC 9068, section 2.1).
	accessTokenType = "at+jwt"
)

// accessTokens makes and reads the tokens of POST /oauth/token. Nothing is
// stored of them: any node that has the key can read what another made.
type accessTokens struct {
	key    []byte
	ttl    time.Duration
	parser *jwt.Parser
}

// newAccessTokens returns nil without a key: then there are none. It panics
// when the ttl is neither 0 nor between one and two hours.
func newAccessTokens(key []byte, ttl time.Duration, now func() time.Time) *accessTokens {
	if key == nil {
		return nil
	}
	if ttl == 0 {
		ttl = time.Hour
	}
	if ttl < time.Hour || ttl > 2*time.Hour {
		panic(fmt.Sprintf("access tokens live for one to two hours, not %s", ttl))
	}
	return &accessTokens{key: key, ttl: ttl, parser: jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithIssuer(tokenParty), jwt.WithAudience(tokenParty),
		jwt.WithExpirationRequired(), jwt.WithStrictDecoding(), jwt.WithTimeFunc(now),
	)}
}

// issue makes a client's token (RFC 9068).
func (t *accessTokens) issue(client ulid.ULID, scopes []string, at time.Time) (string, error) {
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": tokenParty, "aud": tokenParty, "sub": client.String(), "client_id": client.String(),
		"scope": strings.Join(scopes, " "),
		"iat":   at.Unix(), "exp": at.Add(t.ttl).Unix(), "jti": ulid.Make().String(),
	})
	token.Header["typ"] = accessTokenType
	signed, err := token.SignedString(t.key)
	if err != nil {
		return "", fmt.Errorf("sign access token: %w", err)
	}
	return signed, nil
}

// read returns whose token it is and what for, or projections.ErrUnauthenticated.
func (t *accessTokens) read(token string) (client ulid.ULID, scopes []string, err error) {
	parsed, err := t.parser.Parse(token, func(*jwt.Token) (any, error) { return t.key, nil })
	if err != nil || parsed.Header["typ"] != accessTokenType {
		return client, nil, projections.ErrUnauthenticated
	}
	claims := parsed.Claims.(jwt.MapClaims)
	id, _ := claims["client_id"].(string)
	if client, err = ulid.ParseStrict(id); err != nil {
		return client, nil, projections.ErrUnauthenticated
	}
	return client, words(claims["scope"]), nil
}

// tokenClient returns the client that an access token was given to, with the
// token's scopes. The credential is looked up each time, so that revoking it ends
// all its tokens at once.
func (x *exchange) tokenClient(token string) (events.Credential, error) {
	id, scopes, err := x.tokens.read(token)
	if err != nil {
		return events.Credential{}, err
	}
	who, ok, err := x.Access.Credential(x.r.Context(), id)
	if err != nil {
		return events.Credential{}, err
	}
	if !ok || who.Kind != events.KindClient || !who.Usable(x.at) {
		return events.Credential{}, projections.ErrUnauthenticated
	}
	who.Scopes = slices.DeleteFunc(scopes, func(s string) bool { return !slices.Contains(who.Scopes, s) })
	return who, nil
}
