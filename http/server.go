package http

import (
	"log/slog"
	"net/http"
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
	Now    func() time.Time // nil means time.Now
	Log    *slog.Logger     // nil means slog.Default()
}

type server struct {
	Config
	router *chi.Mux
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

// New makes the handler of all contracts.
func New(cfg Config) http.Handler {
	if cfg.Health == nil {
		cfg.Health = func() []projections.Status { return nil }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	s := &server{Config: cfg, router: chi.NewRouter()}
	for _, r := range routes() {
		s.handle(r.method, r.path, s.serve(r.contract, r.access.admit(r.endpoint)))
	}
	s.handle(http.MethodGet, "/healthz", s.serve(&generic, (*exchange).health))
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
	return []route{
		{http.MethodGet, "/api/v2/me", &hostup, access{scope: "read:account", delegated: true}, (*exchange).getMe},
		{http.MethodPatch, "/api/v2/me", &hostup, access{scope: "write:account"}, (*exchange).patchMe},
		{http.MethodPut, payway1, &payway, access{scope: "/external/account/w", client: true}, putAccount(paywayV1)},
		{http.MethodPut, payway0, &paywayEarlier, access{scope: "/external/account/w", client: true}, putAccount(paywayV0)},
		{http.MethodGet, account, &generic, access{scope: "read:account", delegated: true}, (*exchange).getAccount},
		{http.MethodPatch, account, &generic, access{scope: "write:account"}, (*exchange).patchAccount},
	}
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
// path belongs to: 405 with Allow when the path takes other methods, else 404.
func (s *server) stray(w http.ResponseWriter, r *http.Request) {
	s.serve(contractOf(r.URL.Path), func(x *exchange) error {
		allowed := s.allowed(r.URL.Path)
		if len(allowed) == 0 {
			return errNoRoute
		}
		x.w.Header().Set("Allow", strings.Join(allowed, ", "))
		return errMethod
	})(w, r)
}

func (s *server) allowed(path string) []string {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPatch, http.MethodPost, http.MethodPut} {
		if s.router.Match(chi.NewRouteContext(), method, path) {
			allowed = append(allowed, method)
		}
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
	}
	return &generic
}
