package http

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/projections"
)

// TokenPurpose is the purpose for which Config.TokenKey is derived.
const TokenPurpose = "oauth access tokens"

// errGrantType says that the grant is not client credentials.
var errGrantType = errors.New("grant type is not client_credentials")

// oauth is the token endpoint's contract: RFC 6749. Its section 5.2 lists the errors.
var oauth = contract{name: "oauth", basic: true, media: mediaJSON, errors: oauthErrors, render: renderOAuth}

var oauthErrors = errorTable{
	{errContentType, http.StatusBadRequest, "invalid_request", "The content type must be application/x-www-form-urlencoded."},
	{errContentEncoding, http.StatusUnsupportedMediaType, "invalid_request", "The request body must come without a Content-Encoding."},
	{errMalformed, http.StatusBadRequest, "invalid_request", "A parameter is missing, repeated or not readable, or two ways of authentication are used."},
	{errNoCredential, http.StatusUnauthorized, "invalid_client", "The client must authenticate."},
	{projections.ErrUnauthenticated, http.StatusUnauthorized, "invalid_client", "The client is unknown or revoked, or its secret is another."},
	{errScheme, http.StatusUnauthorized, "invalid_client", "The client must authenticate by Basic, with its id and secret, or by client_id and client_secret in the body. Bearer does not count here."},
	{errForbidden, http.StatusBadRequest, "unauthorized_client", "This credential is not a client's."},
	{errGrantType, http.StatusBadRequest, "unsupported_grant_type", "The grant type must be client_credentials."},
	{errScope, http.StatusBadRequest, "invalid_scope", "The client does not have a scope that it asks for."},
	{errTooLarge, http.StatusRequestEntityTooLarge, "invalid_request", "The request body is larger than 64 KiB."},
	{errTooSlow, http.StatusRequestTimeout, "invalid_request", "The request body came too slowly."},
	{errRateLimited, http.StatusTooManyRequests, "rate_limited", "Too many requests; try again after the time in Retry-After."},
	{errBehind, http.StatusServiceUnavailable, "temporarily_unavailable", "The log cannot be reached; try again."},
	{errNoRoute, http.StatusNotFound, "not_found", "There is no such endpoint."},
	{errMethod, http.StatusMethodNotAllowed, "method_not_allowed", "The endpoint does not take this method."},
	{nil, http.StatusInternalServerError, "server_error", "Something unexpected happened."},
}

type oauthError struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

func renderOAuth(_ *exchange, row errorRow, _ error) any {
	return oauthError{row.code, row.text}
}

// oauthToken is the answer in RFC 6749, section 5.1.
type oauthToken struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int    `json:"expires_in"` // seconds
	Scope       string `json:"scope"`
}

// postToken is POST /oauth/token with the grant of client credentials. The client's
// id is the id of its credential. Its secret is the token that was printed when the
// credential was issued.
func (x *exchange) postToken() error {
	if x.tokens == nil {
		return errNoRoute
	}
	x.w.Header().Set("Pragma", "no-cache") // section 5.1 requires it besides no-store
	form, err := x.formBody()
	if err != nil {
		return x.chargeRateLimit(err)
	}
	if err := x.authenticateClient(form); err != nil {
		return err
	}
	switch form.Get("grant_type") {
	case "client_credentials":
	case "":
		return errMalformed
	default:
		return errGrantType
	}
	scopes, err := grantedScopes(x.caller.Scopes, form.Get("scope"))
	if err != nil {
		return err
	}
	token, err := x.tokens.issue(x.caller.ID, scopes, x.at)
	if err != nil {
		return err
	}
	return x.answer(http.StatusOK, mediaJSON, oauthToken{token, "Bearer", int(x.tokens.ttl.Seconds()), strings.Join(scopes, " ")})
}

// formBody reads the request's parameters. A parameter may not be repeated. One
// without a value counts as left out, and unknown ones are ignored (section 3.2).
func (x *exchange) formBody() (url.Values, error) {
	if !isMedia(x.r.Header["Content-Type"], "application/x-www-form-urlencoded") {
		return nil, errContentType
	}
	data, err := x.readBody()
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(data))
	if err != nil {
		return nil, errMalformed
	}
	for name, values := range form {
		if len(values) > 1 {
			return nil, errMalformed
		}
		if values[0] == "" {
			delete(form, name)
		}
	}
	return form, nil
}

// authenticateClient sets x.caller and charges the request to a rate limit.
func (x *exchange) authenticateClient(form url.Values) error {
	if err := x.beFresh(); err != nil {
		return err
	}
	id, secret, err := x.clientCredentials(form)
	if err == nil {
		x.caller, err = x.Access.Authenticate(x.r.Context(), secret, x.at)
	}
	if err == nil {
		if given, malformed := ulid.ParseStrict(id); malformed != nil || given != x.caller.ID {
			err = projections.ErrUnauthenticated
		}
	}
	if err == nil && x.caller.Kind != events.KindClient {
		err = errForbidden
	}
	return x.chargeRateLimit(err)
}

// clientCredentials returns the client's id and secret. They are in the
// Authorization header or in the body, but not in both (section 2.3).
func (x *exchange) clientCredentials(form url.Values) (id, secret string, err error) {
	headers := x.r.Header["Authorization"]
	if len(headers) == 0 {
		if !form.Has("client_secret") {
			return "", "", errNoCredential
		}
		return form.Get("client_id"), form.Get("client_secret"), nil
	}
	if len(headers) > 1 || form.Has("client_secret") {
		return "", "", errMalformed
	}
	if id, secret, err = basicCredentials(headers[0]); err != nil {
		return "", "", err
	}
	if form.Has("client_id") && form.Get("client_id") != id {
		return "", "", errMalformed
	}
	return id, secret, nil
}

// basicCredentials parses an Authorization header of the scheme Basic. Unlike in
// HTTP's own scheme, OAuth's id and secret are form-encoded (section 2.3.1).
func basicCredentials(header string) (id, secret string, err error) {
	scheme, encoded, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", errScheme
	}
	pair, err := base64.StdEncoding.DecodeString(strings.TrimLeft(encoded, " "))
	if err != nil {
		return "", "", projections.ErrUnauthenticated
	}
	id, secret, _ = strings.Cut(string(pair), ":")
	if id, err = url.QueryUnescape(id); err == nil {
		secret, err = url.QueryUnescape(secret)
	}
	if err != nil {
		return "", "", projections.ErrUnauthenticated
	}
	return id, secret, nil
}

// grantedScopes returns the requested scopes, in order and without repetition. If
// none are requested, it returns all scopes of the client.
func grantedScopes(has []string, asked string) ([]string, error) {
	if asked == "" {
		return has, nil
	}
	var granted []string
	wanted := words(asked)
	if len(wanted) == 0 {
		return nil, errScope
	}
	for _, scope := range wanted {
		if !slices.Contains(has, scope) {
			return nil, errScope
		}
		if !slices.Contains(granted, scope) {
			granted = append(granted, scope)
		}
	}
	return granted, nil
}

const (
	// tokenParty is the issuer and the audience of access tokens.
	tokenParty = "konto"
	// accessTokenType distinguishes access tokens from other JWTs that the same
	// key may sign one day (RFC 9068, section 2.1).
	accessTokenType = "at+jwt"
)

// accessTokens makes and reads the tokens of POST /oauth/token. They are not stored:
// a node that has the key can read the tokens that another node made.
type accessTokens struct {
	key    []byte
	ttl    time.Duration
	parser *jwt.Parser
}

// newAccessTokens returns nil if there is no key, and then there are no access
// tokens. It panics if the ttl is neither 0 nor between one and two hours.
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

// issue makes a token for a client (RFC 9068).
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

// read returns a token's client and scopes, or projections.ErrUnauthenticated.
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

// tokenClient returns the client that an access token was issued to, with the
// token's scopes. It looks the credential up each time, so that revoking it ends
// all its tokens at once.
func (x *exchange) tokenClient(token string) (events.Credential, error) {
	id, scopes, err := x.tokens.read(token)
	if err != nil {
		return events.Credential{}, err
	}
	caller, ok, err := x.Access.Credential(x.r.Context(), id)
	if err != nil {
		return events.Credential{}, err
	}
	if !ok || caller.Kind != events.KindClient || !caller.Usable(x.at) {
		return events.Credential{}, projections.ErrUnauthenticated
	}
	caller.Scopes = slices.DeleteFunc(scopes, func(s string) bool { return !slices.Contains(caller.Scopes, s) })
	return caller, nil
}
