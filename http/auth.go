package http

import (
	"errors"
	"slices"
	"strings"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/projections"
)

const (
	// sessionCookie holds a dashboard session's token (HostUp).
	sessionCookie = "hostup_session"
	// maxSessionCookies bounds how many cookies of that name are looked at. A
	// browser sends several when they were set for different paths or domains.
	maxSessionCookies = 10
)

// access is what an endpoint asks of the caller's credential.
type access struct {
	scope     string
	client    bool // a client's token; else an account's key or session
	elevated  bool // an administrator who impersonates the account needs the elevated role
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
		if err := a.check(&x.who, x.ElevatedRole); err != nil {
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
	token, err := x.token()
	switch {
	case err == nil:
		x.who, err = x.identify(token)
	case errors.Is(err, errNoCredential) && x.contract.cookie:
		err = x.identifyCookie()
	}
	return x.counted(err)
}

// identifyCookie finds out whose session a cookie names. The first cookie that
// names a session which is open counts. Browsers send cookies for any site's
// page, so an update by cookie must come from the same origin or an allowed one.
func (x *exchange) identifyCookie() error {
	cookies := x.r.CookiesNamed(sessionCookie)
	if len(cookies) == 0 {
		return errNoCredential
	}
	if x.origins.crossSite.Check(x.r) != nil {
		return errCrossSite
	}
	for _, cookie := range cookies[:min(len(cookies), maxSessionCookies)] {
		who, err := x.Access.Authenticate(x.r.Context(), cookie.Value, x.at)
		if err == nil && who.Kind == events.KindSession {
			x.who = who
			return nil
		}
		if err != nil && !errors.Is(err, projections.ErrUnauthenticated) {
			return err
		}
	}
	return projections.ErrUnauthenticated
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

// check tells why a credential is not let in. elevated is the role that
// administrators need where the endpoint asks for it.
func (a access) check(who *events.Credential, elevated string) error {
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
	if a.elevated && who.Admin != "" && !slices.Contains(who.Roles, elevated) {
		return errNotElevated
	}
	if !slices.Contains(who.Scopes, a.scope) {
		return errScope
	}
	return nil
}

// isHolders tells whether the caller is a session of the account's holder, who
// signed in with a browser: not a key, and not an administrator's.
func isHolders(who *events.Credential) bool { return who.Kind == events.KindSession && who.Admin == "" }

func isDelegated(who *events.Credential) bool { return who.Parent != (ulid.ULID{}) }

// token returns the bearer token. Its error is errNoCredential only when there is
// no Authorization header at all: a cookie never makes up for a wrong one.
func (x *exchange) token() (string, error) {
	values := x.r.Header["Authorization"]
	if len(values) == 0 {
		return "", errNoCredential
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	token = strings.TrimLeft(token, " ")
	// A token holds no space: one is there when the scheme was written twice.
	if len(values) > 1 || !strings.EqualFold(scheme, "Bearer") || token == "" || strings.Contains(token, " ") {
		return "", errScheme
	}
	return token, nil
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
