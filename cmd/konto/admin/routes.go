package admin

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/oklog/ulid/v2"

	"konto/events"
	kontohttp "konto/http"
)

// API returns the HTTP API of the operations.
func (k *Konto) API() *kontohttp.API {
	return &kontohttp.API{
		Routes: slices.Concat(
			k.accountRoutes(), k.credentialRoutes(Key), k.credentialRoutes(Session), k.eventRoutes(), k.thirdPartyRoutes(),
			[]kontohttp.Route{get("/status", func(r *request) (Status, error) { return k.Status(r.Context()) })},
		),
		Errors: []kontohttp.APIError{
			{Err: ErrInvalid, Status: http.StatusBadRequest, Code: "invalid_request"},
			{Err: ErrMissing, Status: http.StatusNotFound, Code: "not_found"},
			{Err: ErrConflict, Status: http.StatusConflict, Code: "conflict"},
		},
	}
}

type request = kontohttp.Request

// get makes a route that reads, and answers with what do returns.
func get[T any](path string, do func(*request) (T, error)) kontohttp.Route {
	return kontohttp.Route{Method: http.MethodGet, Path: path, Role: events.RoleViewer, Answer: answering(http.StatusOK, do)}
}

// ask makes a route that reads what a body asks for, because it must not be in a URL.
func ask[T any](path string, do func(*request) (T, error)) kontohttp.Route {
	return kontohttp.Route{Method: http.MethodPost, Path: path, Role: events.RoleViewer, Answer: answering(http.StatusOK, do)}
}

// act makes a route that changes something.
func act[T any](path string, do func(*request) (T, error)) kontohttp.Route {
	return kontohttp.Route{Method: http.MethodPost, Path: path, Role: events.RoleOperator, Answer: answering(http.StatusOK, do)}
}

// create makes a route that makes something new.
func create[T any](path string, do func(*request) (T, error)) kontohttp.Route {
	return kontohttp.Route{Method: http.MethodPost, Path: path, Role: events.RoleOperator, Answer: answering(http.StatusCreated, do)}
}

// once is a result that nothing shows again. If it was made it is answered, whatever failed
// afterwards: otherwise nobody would have a secret that counts.
type once interface{ made() bool }

func (i IssuedKey) made() bool     { return i.Token != "" }
func (o OpenedSession) made() bool { return o.Cookie != "" }
func (n NewSecret) made() bool     { return n.Secret != "" }

func answering[T any](status int, do func(*request) (T, error)) func(*request) error {
	return func(r *request) error {
		v, err := do(r)
		if m, ok := any(v).(once); err != nil && (!ok || !m.made()) {
			return err
		}
		return r.Answer(status, v)
	}
}

// parameters returns the parameters of a request's query, of which each has one of the names and
// occurs once.
func parameters(r *request, names ...string) (map[string]string, error) {
	given := map[string]string{}
	for name, values := range r.URL.Query() {
		if !slices.Contains(names, name) || len(values) > 1 {
			return nil, invalid("the query may have each of these parameters once: " + strings.Join(names, ", "))
		}
		given[name] = values[0]
	}
	return given, nil
}

// paging returns the parameters of a request for a page: after, limit and those with the names.
func paging(r *request, names ...string) (given map[string]string, limit int, err error) {
	if given, err = parameters(r, append(names, "after", "limit")...); err != nil {
		return nil, 0, err
	}
	limit = defaultLimit
	if text, ok := given["limit"]; ok {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxLimit {
			return nil, 0, invalid("limit is from 1 to 200")
		}
	}
	return given, limit, nil
}

// position reads a parameter that counts from 0, or from 1, in the log or in a stream.
func position(given map[string]string, name string) (uint64, error) {
	text, ok := given[name]
	if !ok {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return 0, invalid(name + " is not a number")
	}
	return n, nil
}

// accountOf returns the account of a request's path.
func (k *Konto) accountOf(r *request) (ulid.ULID, error) { return k.byID(r, r.Param("account")) }

// byID returns the account with one of its ids. URLs are logged by proxies, so there is no address in
// them.
func (k *Konto) byID(r *request, id string) (ulid.ULID, error) {
	if strings.Contains(id, "@") || strings.Contains(id, "%40") {
		return ulid.ULID{}, invalid("an address must not be in a URL; ask POST /admin/v1/accounts/find for the account's id")
	}
	return k.FindID(r.Context(), id)
}

// confirmed reads a body that repeats the id of what a request is about to destroy.
func confirmed(r *request, id string) error {
	var body struct {
		Confirm string `json:"confirm"`
	}
	if err := r.Read(&body); err != nil {
		return err
	}
	if !strings.EqualFold(body.Confirm, id) {
		return invalid("confirm is not the id, as the list shows it: " + id)
	}
	return nil
}
