package http

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"konto/commands"
	"konto/projections"
)

// Config configures the HTTP side.
type Config struct {
	Accounts *commands.Accounts     // required
	Reader   *projections.Reader    // required
	Access   *projections.ReadModel // required
	// Fresh waits until Access and Reader have everything that any node acknowledged before
	// the call. It is called before each request is authenticated. nil if no other node
	// changes accounts.
	Fresh func(context.Context) error
	// Health reports the followers. nil means none.
	Health func() []projections.Status
	// Components reports the parts that depend on NATS. nil means none.
	Components func() []projections.Component
	// Draining reports whether the process is about to end. Requests are answered as before,
	// each as the last one of its connection, and /healthz is a 503. nil means never.
	Draining func() bool
	// Readiness is what /readyz reports. nil means that konto takes updates.
	Readiness func(context.Context) Readiness
	// EmailChangePolicy applies to the generic contract. "" means EmailDirect.
	EmailChangePolicy EmailChangePolicy
	// SessionEmailChange allows a session of the account's user to change the email
	// address through the generic contract, without the current password.
	SessionEmailChange bool
	// ElevatedRole is the role that an administrator who impersonates an account
	// needs for updates through the generic contract and for HostUp's actions.
	// "" means account-admin.
	ElevatedRole string
	// RateLimit applies to each credential. The zero value is no limit.
	RateLimit RateLimit
	// Buckets hold what RateLimit allows for all nodes together. nil means that this
	// process limits alone, in memory.
	Buckets Buckets
	// TrustedProxies are the networks of proxies that say in X-Forwarded-For, or in
	// Forwarded, where a request comes from. None by default: the headers are ignored.
	TrustedProxies []netip.Prefix
	// AllowedOrigins are the web origins, as ParseOrigin returns them, whose pages
	// may read answers and use a session's cookie. None by default.
	AllowedOrigins []string
	// TokenKey signs the access tokens of POST /oauth/token: 32 bytes that the
	// keyring derives for TokenPurpose. Without it that endpoint does not exist.
	TokenKey []byte
	// TokenTTL is how long an access token is valid: one to two hours. 0 means one.
	TokenTTL time.Duration
	// ClientTokens is the issuer whose JWTs are accepted as clients' tokens.
	ClientTokens Issuer
	// UserTokens is the issuer whose JWTs are accepted as tokens of account holders.
	// It must not be that of ClientTokens.
	UserTokens UserIssuer
	// KeySet is served at /.well-known/jwks.json: the public keys with which third
	// parties verify konto's security event tokens (RFC 7517). nil means no such path.
	KeySet []byte
	// Admin is the API of konto's administrators. nil means that there is none here.
	Admin *API
	// Stopping is closed when the server ends: answers without end must end then. nil means never.
	Stopping <-chan struct{}
	Now      func() time.Time // nil means time.Now
	Log      *slog.Logger     // nil means slog.Default()
	// AccessLog gets a line for each request. nil means none.
	AccessLog *slog.Logger
	Metrics   prometheus.Registerer // nil: nobody reads them
}

type server struct {
	Config
	router  *chi.Mux
	admin   *contract // of Admin; nil: there is none
	metrics *metrics
	origins origins
	proxies *proxies       // nil: none is trusted
	tokens  *accessTokens  // nil: there is no POST /oauth/token
	clients *outsideIssuer // of clients' tokens; nil: there is none
	users   *outsideIssuer // of account holders' tokens; nil: there is none

	credentials *limiter[ulid.ULID]  // of requests with a valid credential
	addresses   *limiter[netip.Addr] // of all other requests
}

// endpoint answers an exchange, or returns an error, which the contract's table
// turns into the answer.
type endpoint func(x *exchange) error

type route struct {
	method, path string
	contract     *contract
	access       access
	endpoint     endpoint
}

// New makes the handler of all contracts. It panics if an allowed origin does not
// come from ParseOrigin, or if a field about tokens breaks its own rule.
func New(cfg Config) http.Handler {
	s := newServerOf(cfg)
	for _, r := range routes() {
		s.handle(r.method, r.path, r.contract, r.contract.name, r.path, r.access.admit(r.endpoint))
	}
	s.addAPI()
	s.own("/", "/", (*exchange).root)
	s.own(LivePath, LivePath, (*exchange).live)
	s.own(ReadyPath, ReadyPath, (*exchange).ready)
	s.own("/healthz", "/healthz", (*exchange).health)
	if cfg.KeySet != nil {
		s.own("/.well-known/jwks.json", "/.well-known/jwks.json", (*exchange).wellKnownKeys)
	}
	s.addDocuments()
	return s.router
}

// newServerOf makes a server without routes.
func newServerOf(cfg Config) *server {
	if cfg.Components == nil {
		cfg.Components = func() []projections.Component { return nil }
	}
	if cfg.Health == nil {
		cfg.Health = func() []projections.Status { return nil }
	}
	if cfg.Draining == nil {
		cfg.Draining = func() bool { return false }
	}
	if cfg.Readiness == nil {
		cfg.Readiness = func(context.Context) Readiness { return Readiness{} }
	}
	if cfg.Fresh == nil {
		cfg.Fresh = func(context.Context) error { return nil }
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
		Config: cfg, router: chi.NewRouter(), metrics: newMetrics(cfg.Metrics),
		origins:     newOrigins(cfg.AllowedOrigins),
		proxies:     newProxies(cfg.TrustedProxies),
		credentials: newLimiter[ulid.ULID]("credential", cfg.RateLimit).share(cfg.Buckets),
		addresses:   newLimiter[netip.Addr]("address", cfg.RateLimit).share(cfg.Buckets),
		tokens:      newAccessTokens(cfg.TokenKey, cfg.TokenTTL, cfg.Now),
		clients:     newOutsideIssuer(&cfg, cfg.ClientTokens), users: newOutsideIssuer(&cfg, cfg.UserTokens.Issuer),
	}
	if s.users != nil && s.clients != nil && s.users.name == s.clients.name {
		panic("ClientTokens and UserTokens have one issuer")
	}
	if s.Admin != nil {
		s.admin = s.Admin.contract()
	}
	notFound := s.notFound()
	s.router.NotFound(notFound)
	s.router.MethodNotAllowed(notFound)
	return s
}

// own adds a route that belongs to no contract.
func (s *server) own(path, route string, e endpoint) {
	s.handle(http.MethodGet, path, &generic, noContract, route, e)
}

// addDocuments adds what is the same for every caller.
func (s *server) addDocuments() {
	for path, d := range documents() {
		s.own(path, "document", d.answer)
	}
}

// handle adds a route, and with GET also HEAD. name and route are what its requests are counted as.
func (s *server) handle(method, path string, c *contract, name, route string, e endpoint) {
	s.router.Method(method, path, s.serve(c, s.metrics.of(name, route, method), e))
	if method == http.MethodGet { // net/http omits the body
		s.router.Method(http.MethodHead, path, s.serve(c, s.metrics.of(name, route, http.MethodHead), e))
	}
}

func routes() []route {
	const me, account, payway1, payway0 = "/api/v2/me", "/v1/account", "/external/api/v1/accounts", "/external/api/v0/accounts"
	return []route{
		{http.MethodGet, me, &hostup, access{scope: "read:account", delegated: true}, (*exchange).getMe},
		{http.MethodPatch, me, &hostup, access{scope: "write:account"}, (*exchange).patchMe},
		{http.MethodPost, me + "/actions/change-email", &hostup, actionAccess, (*exchange).changeEmail},
		{http.MethodPost, me + "/actions/confirm-email-change", &hostup, actionAccess, (*exchange).confirmEmailChange},
		{http.MethodPost, me + "/actions/cancel-email-change", &hostup, actionAccess, (*exchange).cancelEmailChange},
		{http.MethodPost, me + "/actions/change-password", &hostup, actionAccess, (*exchange).changePassword},
		{http.MethodGet, payway1, &payway, access{scope: "/external/account/r", client: true}, (*exchange).getPaywayAccount},
		{http.MethodPost, payway1, &payway, access{scope: "/external/account/w", client: true}, (*exchange).postAccount},
		{http.MethodPost, "/oauth/token", &oauth, access{anyone: true}, (*exchange).postToken},
		{http.MethodPut, payway1, &payway, access{scope: "/external/account/w", client: true}, putAccount(paywayV1)},
		{http.MethodPut, payway0, &paywayEarlier, access{scope: "/external/account/w", client: true}, putAccount(paywayV0)},
		{http.MethodGet, account, &generic, access{scope: "read:account", delegated: true}, (*exchange).getAccount},
		{http.MethodPatch, account, &generic, actionAccess, (*exchange).patchAccount},
		{http.MethodPost, account + "/confirm-email", &generic, actionAccess, (*exchange).confirmEmailChange},
	}
}

// serve makes an http.Handler of an endpoint. It is the only layer between the
// router and an endpoint, because a chain of middleware costs time on every request.
func (s *server) serve(c *contract, counted *counted, e endpoint) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		x := s.begin(w, r, c, counted)
		defer x.done()
		defer x.recover()
		if err := e(x); err != nil {
			x.fail(err)
		}
	}
}

// notFound answers requests without a route, in the shape of the contract that the
// path belongs to. If the path has other methods, OPTIONS is a 204 and any other
// method a 405, both with Allow. Otherwise the answer is a 404. OPTIONS also lists
// the media types of PATCH.
func (s *server) notFound() http.HandlerFunc {
	handlers := map[*contract]http.HandlerFunc{}
	for _, c := range []*contract{&hostup, &payway, &paywayEarlier, &oauth, &generic, s.admin} {
		if c != nil {
			handlers[c] = s.serve(c, s.metrics.of(c.name, noRoute, "any"), s.answerNoRoute)
		}
	}
	return func(w http.ResponseWriter, r *http.Request) {
		c := contractOf(r.URL.Path)
		if s.admin != nil && strings.HasPrefix(r.URL.Path, AdminPrefix+"/") {
			c = s.admin
		}
		handlers[c](w, r)
	}
}

func (s *server) answerNoRoute(x *exchange) error {
	allowed := s.allowed(x.r.URL.Path)
	if len(allowed) == 0 {
		return errNoRoute
	}
	x.w.Header().Set("Allow", strings.Join(allowed, ", "))
	if x.r.Method == http.MethodOptions {
		if slices.Contains(allowed, http.MethodPatch) {
			x.w.Header().Set("Accept-Patch", acceptPatch)
		}
		x.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return errMethod
}

// methods lists the methods that a route may have. notFound answers OPTIONS.
var methods = []string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPatch, http.MethodPost, http.MethodPut}

// allowed lists the methods of a path. It is empty if there is no such path.
func (s *server) allowed(path string) []string {
	allowed := slices.DeleteFunc(slices.Clone(methods), func(method string) bool {
		return method != http.MethodOptions && !s.router.Match(chi.NewRouteContext(), method, path)
	})
	if len(allowed) == 1 {
		return nil
	}
	return allowed
}

// contractOf returns the contract whose prefix the path has, or else the generic
// contract.
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

// healthTimeout bounds how long the log is asked for its head. On several machines that waits for
// a standby.
const healthTimeout = 2 * time.Second

type healthReport struct {
	Status    string               `json:"status"`         // ok, degraded, draining or failing
	Head      uint64               `json:"head"`           // the log's last position, which followers reach in time
	Error     string               `json:"error,omitzero"` // why the log cannot be read
	Followers []projections.Status `json:"followers"`
	// Components are the parts that depend on NATS, and the connection to it.
	Components []projections.Component `json:"components,omitzero"`
}

// health reports the state of the log, its followers and the components.
//
// degraded is a 200. While NATS is unreachable konto answers every request, and
// consumers lose nothing, because their events wait in the log. If a load balancer
// took konto out of service, that would only make it worse. A component that waits or
// retries is degraded for the same reason: its facts or codes wait too.
//
// failing is a 503: the log cannot be read, a follower retries, or a follower or
// component has stopped. Reads of accounts stay correct, but changes that the read
// model did not apply, such as the revocation of a key, are not in force.
//
// draining is a 503 too, so that a proxy sends no more requests here before the process ends.
// Those that come are answered.
func (x *exchange) health() error {
	// The followers are read first. Read afterwards, one could be beyond the head.
	report, status := healthReport{Status: "ok", Followers: x.Health(), Components: x.Components()}, http.StatusOK
	ctx, cancel := context.WithTimeout(x.r.Context(), healthTimeout)
	defer cancel()
	head, err := x.Reader.Store.Head(ctx)
	failing := err != nil
	if report.Head = head; failing {
		report.Error = err.Error()
	}
	for _, f := range report.Followers {
		switch f.State {
		case projections.StateWaiting:
			report.Status = "degraded"
		case projections.StateRetrying, projections.StateStopped:
			failing = true
		}
	}
	for _, c := range report.Components {
		switch c.State {
		case projections.StateWaiting, projections.StateRetrying:
			report.Status = "degraded"
		case projections.StateStopped:
			failing = true
		}
	}
	switch {
	case failing:
		report.Status, status = "failing", http.StatusServiceUnavailable
	case x.Draining():
		report.Status, status = "draining", http.StatusServiceUnavailable
	}
	return x.answer(status, mediaJSON, report)
}
