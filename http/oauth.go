package http

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/projections"
)

// TokenPurpose is what Config.TokenKey is derived for.
const TokenPurpose = "oauth access tokens"

// errGrantType is for a grant other than client credentials.
var errGrantType = errors.New("grant type is not client_credentials")

// oauth is the token endpoint's contract: RFC 6749, whose section 5.2 has the errors.
var oauth = contract{name: "oauth", basic: true, media: mediaJSON, errors: oauthErrors, render: renderOAuth}

var oauthErrors = errorTable{
	{errContentType, http.StatusBadRequest, "invalid_request", "The content type must be application/x-www-form-urlencoded."},
	{errContentCoding, http.StatusUnsupportedMediaType, "invalid_request", "The request body must come without a Content-Encoding."},
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

// oauthToken is the answer of RFC 6749, section 5.1.
type oauthToken struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int    `json:"expires_in"` // seconds
	Scope       string `json:"scope"`
}

// postToken is POST /oauth/token, the grant of client credentials. The client's
// id is its credential's, its secret the token that was shown when it was issued.
func (x *exchange) postToken() error {
	if x.tokens == nil {
		return errNoRoute
	}
	x.w.Header().Set("Pragma", "no-cache") // asked for beside no-store by section 5.1
	form, err := x.formBody()
	if err != nil {
		return x.counted(err)
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
	scopes, err := grantedScopes(x.who.Scopes, form.Get("scope"))
	if err != nil {
		return err
	}
	token, err := x.tokens.issue(x.who.ID, scopes, x.at)
	if err != nil {
		return err
	}
	return x.answer(http.StatusOK, mediaJSON, oauthToken{token, "Bearer", int(x.tokens.ttl.Seconds()), strings.Join(scopes, " ")})
}

// formBody reads the request's parameters, each of which may be there once. One
// without a value counts as left out. Unknown ones are ignored. All of that is
// said in section 3.2.
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

// authenticateClient finds out which client calls, and counts the request.
func (x *exchange) authenticateClient(form url.Values) error {
	id, secret, err := x.clientCredentials(form)
	if err == nil {
		x.who, err = x.Access.Authenticate(x.r.Context(), secret, x.at)
	}
	if err == nil {
		if given, malformed := ulid.ParseStrict(id); malformed != nil || given != x.who.ID {
			err = projections.ErrUnauthenticated
		}
	}
	if err == nil && x.who.Kind != events.KindClient {
		err = errForbidden
	}
	return x.counted(err)
}

// clientCredentials returns the id and the secret that the client sends in
// the Authorization header or in the body, but not in both (section 2.3).
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

// basicCredentials reads an Authorization header of scheme Basic. Unlike HTTP's
// own, OAuth's id and secret are form-encoded in it (section 2.3.1).
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

// grantedScopes are those asked for, in order and each once; all that the client
// has when it asks for none.
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
