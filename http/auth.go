package http

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/oklog/ulid/v2"
	"github.com/rs/cors"

	"konto/events"
	"konto/projections"
)

const (
	// sessionCookie holds a dashboard session's token (HostUp).
	sessionCookie = "hostup_session"
	// maxSessionCookies limits how many cookies of that name are looked up. A
	// browser sends several if they were set for different paths or domains.
	maxSessionCookies = 10
)

// access says what an endpoint requires of the caller's credential.
type access struct {
	scope     string
	client    bool // requires a client's token; otherwise an account's key or session
	elevated  bool // requires the elevated role of an administrator who impersonates the account
	delegated bool // allows sessions by a delegated grant
	anyone    bool // the endpoint authenticates the caller itself
}

// admit returns an endpoint that authenticates the caller, checks access and
// Accept, and then calls e.
func (a access) admit(e endpoint) endpoint {
	if a.anyone {
		return e
	}
	return func(x *exchange) error {
		if err := x.authenticate(); err != nil {
			return err
		}
		if err := a.check(&x.caller, x.ElevatedRole); err != nil {
			return err
		}
		if !acceptsJSON(x.r.Header["Accept"]) {
			return errNotAcceptable
		}
		return e(x)
	}
}

// authenticate sets x.caller and charges the request to a rate limit.
func (x *exchange) authenticate() error {
	if err := x.beFresh(); err != nil {
		return err
	}
	token, err := x.token()
	switch {
	case err == nil:
		x.caller, err = x.identify(token)
	case errors.Is(err, errNoCredential) && x.contract.cookie:
		err = x.identifyCookie()
	}
	return x.chargeRateLimit(err)
}

// beFresh waits for what other nodes have acknowledged. Without it, this node might admit a
// credential that another node has revoked.
func (x *exchange) beFresh() error {
	if err := x.Fresh(x.r.Context()); err != nil {
		return fmt.Errorf("%w: %w", errBehind, err)
	}
	return nil
}

// identifyCookie sets x.caller from the first cookie that names an open session.
// Browsers send cookies with requests of any site's page, so an update with a
// cookie must come from the same origin or an allowed one.
func (x *exchange) identifyCookie() error {
	cookies := x.r.CookiesNamed(sessionCookie)
	if len(cookies) == 0 {
		return errNoCredential
	}
	if x.origins.crossSite.Check(x.r) != nil {
		return errCrossSite
	}
	for _, cookie := range cookies[:min(len(cookies), maxSessionCookies)] {
		caller, err := x.Access.Authenticate(x.r.Context(), cookie.Value, x.at)
		if err == nil && caller.Kind == events.KindSession {
			x.caller = caller
			return nil
		}
		if err != nil && !errors.Is(err, projections.ErrUnauthenticated) {
			return err
		}
	}
	return projections.ErrUnauthenticated
}

// chargeRateLimit charges the request to the caller's credential, or to the address
// if err says that there is no valid credential. Requests of others from the same
// address are never charged to a valid credential, because many callers may share
// an address, such as a proxy's. It returns err, or errRateLimited.
func (x *exchange) chargeRateLimit(err error) error {
	if err == nil {
		return x.credentials.spend(x.w.Header(), x.caller.ID, 1, x.at)
	}
	if limited := x.addresses.spend(x.w.Header(), x.proxies.clientAddress(x.r), failureCost, x.at); limited != nil {
		return limited
	}
	return err
}

// check returns why the credential has no access, or nil. elevated is the role
// that administrators need if the endpoint requires it.
func (a access) check(caller *events.Credential, elevated string) error {
	switch caller.Kind {
	case events.KindClient:
		if !a.client {
			return errForbidden
		}
	case events.KindKey, events.KindSession:
		// A session without an account belongs to an administrator who impersonates nobody.
		if a.client || caller.Account == (ulid.ULID{}) {
			return errForbidden
		}
	default:
		return errForbidden
	}
	if !a.delegated && isDelegated(caller) {
		return errDelegated
	}
	if a.elevated && caller.Admin != "" && !slices.Contains(caller.Roles, elevated) {
		return errNotElevated
	}
	if !slices.Contains(caller.Scopes, a.scope) {
		return errScope
	}
	return nil
}

// isUserSession reports whether the caller is a session of the account's own user,
// and not a key or an administrator's session.
func isUserSession(caller *events.Credential) bool {
	return caller.Kind == events.KindSession && caller.Admin == ""
}

// isDelegated reports whether the session exists by a grant of another account.
func isDelegated(caller *events.Credential) bool { return caller.Parent != (ulid.ULID{}) }

// token returns the bearer token. Its error is errNoCredential only if there is no
// Authorization header at all, because a cookie never replaces a wrong one.
func (x *exchange) token() (string, error) {
	values := x.r.Header["Authorization"]
	if len(values) == 0 {
		return "", errNoCredential
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	token = strings.TrimLeft(token, " ")
	// A token has no space. There is one if the scheme was written twice.
	if len(values) > 1 || !strings.EqualFold(scheme, "Bearer") || token == "" || strings.Contains(token, " ") {
		return "", errScheme
	}
	return token, nil
}

// challenge returns the WWW-Authenticate of a 401 (RFC 6750, section 3, and RFC
// 6749, section 5.2). It names no error if the caller sent no bearer token.
func (c *contract) challenge(err error) string {
	if c.basic {
		return `Basic realm="konto"`
	}
	if errors.Is(err, errNoCredential) || errors.Is(err, errScheme) {
		return `Bearer realm="konto"`
	}
	return `Bearer realm="konto", error="invalid_token"`
}

// ParseOrigin parses a web origin as a browser writes it: https://app.example.com.
// There are no wildcards, because an allowed origin may also use cookies.
func ParseOrigin(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") ||
		u.Scheme+"://"+u.Host != text || strings.Contains(text, "*") || strings.ToLower(text) != text {
		return "", fmt.Errorf("origin %q is not scheme://host[:port] in lower case, of http or https", text)
	}
	return text, nil
}

// origins decides about requests that a browser sends for a page of another site.
type origins struct {
	cors      *cors.Cors // nil: no origin may read answers
	crossSite *http.CrossOriginProtection
}

// newOrigins panics if an origin does not come from ParseOrigin.
func newOrigins(allowed []string) origins {
	o := origins{crossSite: http.NewCrossOriginProtection()}
	for _, origin := range allowed {
		if _, err := ParseOrigin(origin); err != nil {
			panic(err)
		}
		if err := o.crossSite.AddTrustedOrigin(origin); err != nil {
			panic(err)
		}
	}
	if len(allowed) == 0 {
		return o // cors would read an empty list as every origin
	}
	o.cors = cors.New(cors.Options{
		AllowedOrigins: allowed,
		AllowedMethods: methods,
		// These are all headers that konto reads, and those that tracing libraries send
		// with traceparent, because a browser asks about all headers of a request at once.
		AllowedHeaders: []string{
			"Accept", "Authorization", "Baggage", "Content-Encoding", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match",
			"Traceparent", "Tracestate",
		},
		ExposedHeaders: []string{
			"Accept-Encoding", "Accept-Patch", "Allow", "ETag", "Idempotent-Replayed", "Location", "RateLimit", "RateLimit-Policy",
			"Retry-After", "WWW-Authenticate", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "X-Request-Id",
		},
		AllowCredentials:   true,
		MaxAge:             600,
		OptionsPassthrough: true, // server.notFound answers OPTIONS
	})
	return o
}

// share tells the browser whether the page may read the answer.
func (o *origins) share(w http.ResponseWriter, r *http.Request) {
	if o.cors != nil {
		o.cors.ServeHTTP(w, r, func(http.ResponseWriter, *http.Request) {})
	}
}
