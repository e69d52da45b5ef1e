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
	anyone    bool // the endpoint finds out itself who calls
}

// admit authenticates the caller and lets those with access on to the endpoint.
func (a access) admit(e endpoint) endpoint {
	if a.anyone {
		return e
	}
	return func(x *exchange) error {
		if err := x.authenticate(); err != nil {
			return err
		}
		if err := a.check(&x.who); err != nil {
			return err
		}
		if !takesJSON(x.r.Header["Accept"]) {
			return errNotAcceptable
		}
		return e(x)
	}
}

// authenticate finds out who calls, and counts the request.
func (x *exchange) authenticate() error {
	token, cookie, err := x.token()
	if err == nil {
		x.who, err = x.identify(token)
	}
	if err == nil && cookie && x.who.Kind != events.KindSession {
		err = projections.ErrUnauthenticated
	}
	return x.counted(err)
}

// counted counts the request against the caller, or against the address when
// err tells that no valid credential is known. What others do from a caller's address is never
// held against a valid credential: many callers may come from one address, such
// as a proxy's. It returns err, or errRateLimited.
func (x *exchange) counted(err error) error {
	if err == nil {
		return x.spend()
	}
	if limited := x.spendAddress(failurePrice); limited != nil {
		return limited
	}
	return err
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
		return errDelegated
	}
	if !slices.Contains(who.Scopes, a.scope) {
		return errScope
	}
	return nil
}

func isDelegated(who *events.Credential) bool { return who.Parent != (ulid.ULID{}) }

// token returns the bearer token, or the session cookie's where the contract
// takes one. A cookie never makes up for a wrong Authorization header. Browsers
// send cookies for any site's page, so an update by cookie must come from the
// same origin or an allowed one.
func (x *exchange) token() (token string, cookie bool, err error) {
	if values := x.r.Header["Authorization"]; len(values) > 0 {
		scheme, token, _ := strings.Cut(values[0], " ")
		token = strings.TrimLeft(token, " ")
		// A token holds no space: one is there when the scheme was written twice.
		if len(values) > 1 || !strings.EqualFold(scheme, "Bearer") || token == "" || strings.Contains(token, " ") {
			return "", false, errScheme
		}
		return token, false, nil
	}
	if x.contract.cookie {
		if c, err := x.r.Cookie(sessionCookie); err == nil {
			if x.origins.crossSite.Check(x.r) != nil {
				return "", true, errCrossSite
			}
			return c.Value, true, nil
		}
	}
	return "", false, errNoCredential
}

// challenge is the WWW-Authenticate of a 401 (RFC 6750, section 3, and RFC 6749,
// section 5.2). It names no error for a caller who sent no bearer token.
func (c *contract) challenge(err error) string {
	if c.basic {
		return `Basic realm="konto"`
	}
	if errors.Is(err, errNoCredential) || errors.Is(err, errScheme) {
		return `Bearer realm="konto"`
	}
	return `Bearer realm="konto", error="invalid_token"`
}
