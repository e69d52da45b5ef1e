package http

import (
	"context"
	"net/http"
	"strconv"
	"strings"
)

// The probes. A server answers them also while it holds all other requests back.
const (
	LivePath  = "/livez"
	ReadyPath = "/readyz"
)

// Readiness says whether konto takes updates.
type Readiness struct {
	Reasons  []Reason // why it takes none; empty if it takes them
	Warnings []string // what an operator should look at although it takes them; each a sentence
}

// Reason is one reason why konto takes no updates.
type Reason struct {
	Code string // for metrics
	Text string // a sentence
}

// live answers. That is all that it has to prove.
func (x *exchange) live() error { return x.text(http.StatusOK, "konto answers.") }

// ready reports whether konto takes updates. What only waits or retries by itself is a warning:
// its events wait in the log, and a load balancer that took konto out of service would only make
// it worse.
func (x *exchange) ready() error {
	ctx, cancel := context.WithTimeout(x.r.Context(), healthTimeout)
	defer cancel()
	found := x.Readiness(ctx)
	status, lines := http.StatusOK, []string{"konto is ready."}
	if len(found.Reasons) > 0 {
		status, lines = http.StatusServiceUnavailable, []string{"konto is not ready."}
	}
	for _, r := range found.Reasons {
		lines = append(lines, r.Text)
	}
	for _, warning := range found.Warnings {
		lines = append(lines, "Warning: "+warning)
	}
	return x.text(status, lines...)
}

// text answers with lines. A line break in an error becomes a space.
func (x *exchange) text(status int, lines ...string) error {
	for i := range lines {
		lines[i] = strings.ReplaceAll(lines[i], "\n", " ") + "\n"
	}
	body := strings.Join(lines, "")
	x.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	x.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	x.w.WriteHeader(status)
	_, _ = x.w.Write([]byte(body)) // fails only when the caller has gone
	return nil
}

// entrance is what GET / shows to programs.
type entrance struct {
	Contracts string   `json:"contracts"`
	Guides    string   `json:"guides"`
	OpenAPI   []string `json:"openapi"`
	AsyncAPI  string   `json:"asyncapi"`
}

// root sends browsers to the documents, and tells other callers where they are.
func (x *exchange) root() error {
	if q, _ := weight(x.r.Header["Accept"], "text/html"); q > 0 {
		http.Redirect(x.w, x.r, "/docs", http.StatusFound)
		return nil
	}
	return x.answer(http.StatusOK, mediaJSON, entrance{
		Contracts: "/docs", Guides: "/docs/", AsyncAPI: "/asyncapi.json",
		OpenAPI: []string{"/openapi/hostup.json", "/openapi/payway.json", "/openapi/generic.json"},
	})
}
