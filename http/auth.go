package http

import (
	"errors"
	"slices"
	"strings"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/projections"
)

// sessionCookie holds a dashboard session's token (HostUp).
const sessionCookie = "hostup_session"

// access is what an endpoint asks of the caller's credential.
type access struct {
	scope     string
	client    bool // a client's token; else an account's key or session
	delegated bool // whether sessions by delegated grant are let in
}

// admit authenticates the caller and lets those with access on to the endpoint.
func (a access) admit(e endpoint) endpoint {
	return func(x *exchange) error {
		token, cookie, err := x.token()
		if err != nil {
			return err
		}
		if x.who, err = x.Access.Authenticate(x.r.Context(), token, x.at); err != nil {
			return err
		}
		if cookie && x.who.Kind != events.KindSession {
			return projections.ErrUnauthenticated
		}
		if err := a.check(&x.who); err != nil {
			return err
		}
		return e(x)
	}
}

func (a access) check(who *events.Credential) error {
	switch who.Kind {
	case events.KindClient:
		if !a.client {
			return errForbidden
		}
	case events.KindKey, events.KindSession:
		// A session without an account is an administrator's who impersonates nobody.
		if a.client || who.Account == (ulid.ULID{}) {
			return errForbidden
		}
	default:
		return errForbidden
	}
	if !a.delegated && isDelegated(who) {
		return errForbidden
	}
	if !slices.Contains(who.Scopes, a.scope) {
		return errScope
	}
	return nil
}

func isDelegated(who *events.Credential) bool { return who.Parent != (ulid.ULID{}) }

// token returns the bearer token, or the session cookie's where the contract
// takes one. A cookie never makes up for a wrong Authorization header.
func (x *exchange) token() (token string, cookie bool, err error) {
	if values := x.r.Header["Authorization"]; len(values) > 0 {
		scheme, token, _ := strings.Cut(values[0], " ")
		if len(values) > 1 || !strings.EqualFold(scheme, "Bearer") {
			return "", false, projections.ErrUnauthenticated
		}
		return strings.TrimLeft(token, " "), false, nil
	}
	if x.contract.cookie {
		if c, err := x.r.Cookie(sessionCookie); err == nil {
			return c.Value, true, nil
		}
	}
	return "", false, errNoCredential
}

// challenge is the WWW-Authenticate of a 401 (RFC 6750, section 3): a caller
// who sent no credential is not told of an error.
func challenge(err error) string {
	if errors.Is(err, errNoCredential) {
		return `Bearer realm="konto"`
	}
	return `Bearer realm="konto", error="invalid_token"`
}
