package http

import (
	"net/http"
	"slices"

	"github.com/go-chi/chi/v5"
	"github.com/go-json-experiment/json"

	"konto/commands"
	"konto/events"
	"konto/projections"
)

// API is what konto's administrators call: routes that another package answers. The path of each
// begins with AdminPrefix. Authentication, the limit on requests, the answers to errors and the
// headers are as in the contracts, but only a key of events.KindAdmin counts, as a bearer token.
type API struct {
	Routes []Route
	Errors []APIError // in addition to those of package commands
}

// AdminPrefix begins the paths of the API.
const AdminPrefix = "/admin/v1"

// Route is a route of an API.
type Route struct {
	Method string // GET or POST
	Path   string // after AdminPrefix, such as /accounts/{id}
	Role   string // events.RoleViewer: every administrator's key may call it
	Stream bool   // its answer is not application/json
	Answer func(*Request) error
}

// APIError is the answer to one error.
type APIError struct {
	Err    error
	Status int
	Code   string
	Text   string // "" means the error's own text, which must hold nothing that is personal
}

// Request is an authenticated request to a Route.
type Request struct {
	*http.Request
	Writer http.ResponseWriter
	Caller events.Credential
	x      *exchange
}

// Param returns the part of the path at a name in Route.Path.
func (r *Request) Param(name string) string { return chi.URLParam(r.Request, name) }

// Metadata returns what events that the request causes record about it.
func (r *Request) Metadata() events.Metadata { return r.x.metadata() }

// Read reads the body into v, which points to a struct: one JSON object without unknown members.
func (r *Request) Read(v any) error {
	data, err := r.x.jsonBody()
	if err != nil {
		return err
	}
	if json.Unmarshal(data, v, json.RejectUnknownMembers(true)) != nil { // whose message may quote it
		return errMalformed
	}
	return nil
}

// Answer answers with a value as JSON. A Route returns after it.
func (r *Request) Answer(status int, v any) error { return r.x.answer(status, mediaJSON, v) }

// Stopping is closed when the server ends. An answer without end must end then.
func (r *Request) Stopping() <-chan struct{} { return r.x.Stopping }

// StillAdmitted reports whether the request's credential can still be used. An answer without end
// asks from time to time.
func (r *Request) StillAdmitted() bool {
	c, ok, err := r.x.Access.Credential(r.Context(), r.Caller.ID)
	return err == nil && ok && c.Usable(r.x.Now())
}

// NewAdmin makes a handler of Config.Admin alone, for a listener of its own.
func NewAdmin(cfg Config) http.Handler {
	s := newServerOf(cfg)
	s.addAPI()
	s.addDocuments()
	return s.router
}

// addAPI adds the routes of Config.Admin.
func (s *server) addAPI() {
	if s.Admin == nil {
		return
	}
	for _, r := range s.Admin.Routes {
		s.handle(r.Method, AdminPrefix+r.Path, s.admin, s.admin.name, AdminPrefix+r.Path, r.admit)
	}
}

// admit is access.admit for a route of the API.
func (route Route) admit(x *exchange) error {
	if err := x.authenticate(); err != nil {
		return err
	}
	if x.caller.Kind != events.KindAdmin {
		return errForbidden
	}
	if route.Role != events.RoleViewer && !slices.Contains(x.caller.Roles, route.Role) {
		return errScope
	}
	if !route.Stream && !acceptsJSON(x.r.Header["Accept"]) {
		return errNotAcceptable
	}
	x.streams = route.Stream
	return route.Answer(&Request{Request: x.r, Writer: x.w, Caller: x.caller, x: x})
}

// contract returns the contract of the API, with the generic contract's shape of errors.
func (a *API) contract() *contract {
	rows := errorTable{
		{errNoCredential, http.StatusUnauthorized, "unauthorized", "An administrator's key is required, as a bearer token."},
		{projections.ErrUnauthenticated, http.StatusUnauthorized, "unauthorized", "The key is unknown, expired or revoked."},
		{errScheme, http.StatusUnauthorized, "unauthorized", "The Authorization header must be Bearer, a space and the key, once."},
		{errForbidden, http.StatusForbidden, "forbidden", "This is not an administrator's key."},
		{errScope, http.StatusForbidden, "forbidden", "The key's role may only read."},
		{errContentType, http.StatusUnsupportedMediaType, "invalid_request", "The Content-Type must be application/json, in UTF-8."},
		{errContentEncoding, http.StatusUnsupportedMediaType, "invalid_request", "The request body must come without a Content-Encoding."},
		{errMalformed, http.StatusBadRequest, "invalid_request", "The request body is not one JSON object with the documented members."},
		{commands.ErrInvalid, http.StatusBadRequest, "invalid_request", "The request has wrong or missing fields."},
		{commands.ErrTaken, http.StatusConflict, "taken", "A value that must be unique is already in use."},
		{commands.ErrNotFound, http.StatusNotFound, "not_found", "The account does not exist."},
		{errNoRoute, http.StatusNotFound, "not_found", "There is no such endpoint."},
		{errMethod, http.StatusMethodNotAllowed, "method_not_allowed", "The endpoint does not take this method."},
		{errRateLimited, http.StatusTooManyRequests, "rate_limited", "Too many requests; try again after the time in Retry-After."},
		{errNotAcceptable, http.StatusNotAcceptable, "not_acceptable", "The answer is application/json, which Accept leaves out."},
	}
	for _, e := range a.Errors {
		rows = append(rows, errorRow{e.Err, e.Status, e.Code, e.Text})
	}
	rows = append(rows, errorRow{nil, http.StatusInternalServerError, "internal_error", "Something went wrong on our side."})
	return &contract{name: "admin", media: mediaJSON, errors: rows.withCommon("."), render: renderAPI}
}

// renderAPI has the generic contract's shape, and names each wrong field in the message.
func renderAPI(x *exchange, row errorRow, err error) any {
	e := genericError{Error: row.code, Message: row.text}
	if e.Message == "" {
		e.Message = err.Error()
	}
	for _, f := range x.contract.fields(err) {
		e.Message += " " + genericName(f.Field) + ": " + f.Detail
	}
	return e
}
