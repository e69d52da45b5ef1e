package http

import (
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"konto/commands"
	"konto/projections"
)

// Config configures the HTTP side.
type Config struct {
	Accounts *commands.Accounts     // required
	Reader   *projections.Reader    // required
	Access   *projections.ReadModel // required
	// Health reports the followers; nil reports none.
	Health func() []projections.Status
	// Components reports the parts that follow NATS; nil reports none.
	Components func() []projections.Component
	// EmailChangePolicy is the generic contract's; "" means EmailDirect.
	EmailChangePolicy EmailChangePolicy
	// SessionEmailChange lets a session of the account's holder change the email
	// address through the generic contract, without the current password.
	SessionEmailChange bool
	// ElevatedRole is the role with which an administrator who impersonates an
	// account may update it through the generic contract and use HostUp's actions;
	// "" means account-admin.
	ElevatedRole string
	// RateLimit is each credential's. The zero value is none.
	RateLimit RateLimit
	// AllowedOrigins are the web origins, as ParseOrigin gives them, whose pages
	// may read answers and use a session's cookie. None by default.
	AllowedOrigins []string
	// TokenKey signs the access tokens of POST /oauth/token: 32 bytes that the
	// keyring derives for TokenPurpose. Without it there is no such endpoint.
	TokenKey []byte
	// TokenTTL is how long an access token lives, from one to two hours; 0 means one.
	TokenTTL time.Duration
	// JWTIssuer and JWTAudience, set both or neither, name an outside issuer
	// whose JWTs count as clients' tokens, and what it calls konto.
	JWTIssuer, JWTAudience string
	// JWKSURL is where the issuer publishes its keys; "": its OpenID metadata tells.
	JWKSURL string
	// KeySet is served as /.well-known/jwks.json: the public keys that third
	// parties check konto's security event tokens with (RFC 7517). nil: nothing is.
	KeySet []byte
	Now    func() time.Time // nil means time.Now
	Log    *slog.Logger     // nil means slog.Default()
}

type server struct {
	Config
	router  *chi.Mux
	limits  limits
	origins origins
	tokens  *accessTokens  // nil: none are issued
	outside *outsideIssuer // nil: there is none
}

// endpoint answers an exchange, or returns why it cannot: an error that the
// contract's table turns into the answer.
type endpoint func(x *exchange) error

type route struct {
	method, path string
	contract     *contract
	access       access
	endpoint     endpoint
}

// New makes the handler of all contracts. It panics when an allowed origin is
// none of ParseOrigin's, or a field about tokens is not as it says.
func New(cfg Config) http.Handler {
	if cfg.Components == nil {
		cfg.Components = func() []projections.Component { return nil }
	}
	if cfg.Health == nil {
		cfg.Health = func() []projections.Status { return nil }
	}
	if cfg.ElevatedRole == "" {
		cfg.ElevatedRole = defaultElevatedRole
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	s := &server{
		Config: cfg, router: chi.NewRouter(),
		limits: newLimits(cfg.RateLimit), origins: newOrigins(cfg.AllowedOrigins),
		tokens: newAccessTokens(cfg.TokenKey, cfg.TokenTTL, cfg.Now), outside: newOutsideIssuer(&cfg),
	}
	for _, r := range routes() {
		s.handle(r.method, r.path, s.serve(r.contract, r.access.admit(r.endpoint)))
	}
	s.handle(http.MethodGet, "/healthz", s.serve(&generic, (*exchange).health))
	if cfg.KeySet != nil {
		s.handle(http.MethodGet, "/.well-known/jwks.json", s.serve(&generic, (*exchange).wellKnownKeys))
	}
	for path, d := range documents() {
		s.handle(http.MethodGet, path, s.serve(&generic, d.answer))
	}
	s.router.NotFound(s.stray)
	s.router.MethodNotAllowed(s.stray)
	return s.router
}

func (s *server) handle(method, path string, h http.HandlerFunc) {
	s.router.Method(method, path, h)
	if method == http.MethodGet { // net/http leaves the body out
		s.router.Method(http.MethodHead, path, h)
	}
}

func routes() []route {
	const account, payway1, payway0 = "/v1/account", "/external/api/v1/accounts", "/external/api/v0/accounts"
	return append(actionRoutes(), []route{
		{http.MethodGet, "/api/v2/me", &hostup, access{scope: "read:account", delegated: true}, (*exchange).getMe},
		{http.MethodPatch, "/api/v2/me", &hostup, access{scope: "write:account"}, (*exchange).patchMe},
		{http.MethodGet, payway1, &payway, access{scope: "/external/account/r", client: true}, (*exchange).getPaywayAccount},
		{http.MethodPost, payway1, &payway, access{scope: "/external/account/w", client: true}, (*exchange).postAccount},
		{http.MethodPost, "/oauth/token", &oauth, access{anyone: true}, (*exchange).postToken},
		{http.MethodPut, payway1, &payway, access{scope: "/external/account/w", client: true}, putAccount(paywayV1)},
		{http.MethodPut, payway0, &paywayEarlier, access{scope: "/external/account/w", client: true}, putAccount(paywayV0)},
		{http.MethodGet, account, &generic, access{scope: "read:account", delegated: true}, (*exchange).getAccount},
		{http.MethodPatch, account, &generic, access{scope: "write:account", elevated: true}, (*exchange).patchAccount},
		{http.MethodPost, account + "/confirm-email", &generic, access{scope: "write:account", elevated: true}, (*exchange).confirmEmail},
	}...)
}

// serve makes an http.Handler of an endpoint. It is the only layer between the
// router and an endpoint: a chain of middleware costs time on every request.
func (s *server) serve(c *contract, e endpoint) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		x := s.begin(w, r, c)
		defer x.recover()
		if err := e(x); err != nil {
			x.fail(err)
		}
	}
}

// stray answers what no route takes, in the shape of the contract that the
// path belongs to: 204 to OPTIONS and 405 to another method, both with Allow,
// when the path takes any, else 404. OPTIONS also tells what PATCH takes.
func (s *server) stray(w http.ResponseWriter, r *http.Request) {
	s.serve(contractOf(r.URL.Path), func(x *exchange) error {
		allowed := s.allowed(r.URL.Path)
		if len(allowed) == 0 {
			return errNoRoute
		}
		x.w.Header().Set("Allow", strings.Join(allowed, ", "))
		if r.Method == http.MethodOptions {
			if slices.Contains(allowed, http.MethodPatch) {
				x.w.Header().Set("Accept-Patch", acceptPatch)
			}
			x.w.WriteHeader(http.StatusNoContent)
			return nil
		}
		return errMethod
	})(w, r)
}

// methods are those that routes may have. stray stands in for OPTIONS.
var methods = []string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPatch, http.MethodPost, http.MethodPut}

// allowed lists what a path takes; nothing when there is no such path.
func (s *server) allowed(path string) []string {
	allowed := slices.DeleteFunc(slices.Clone(methods), func(method string) bool {
		return method != http.MethodOptions && !s.router.Match(chi.NewRouteContext(), method, path)
	})
	if len(allowed) == 1 {
		return nil
	}
	return allowed
}

// contractOf gives the contract under whose prefix a path lies, the generic
// one when it lies under none.
func contractOf(path string) *contract {
	switch {
	case strings.HasPrefix(path, "/api/v2/"):
		return &hostup
	case strings.HasPrefix(path, "/external/api/v0/"):
		return &paywayEarlier
	case strings.HasPrefix(path, "/external/"):
		return &payway
	case strings.HasPrefix(path, "/oauth/"):
		return &oauth
	}
	return &generic
}
