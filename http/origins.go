package http

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/rs/cors"
)

// ParseOrigin reads a web origin as a browser writes it: https://app.example.com.
// There is no wildcard: an origin that is allowed is also trusted with cookies.
func ParseOrigin(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") ||
		u.Scheme+"://"+u.Host != text || strings.Contains(text, "*") || strings.ToLower(text) != text {
		return "", fmt.Errorf("origin %q is not scheme://host[:port] in lower case, of http or https", text)
	}
	return text, nil
}

// origins decides about requests that a browser makes for another site's page.
type origins struct {
	cors      *cors.Cors // nil: no origin may read answers
	crossSite *http.CrossOriginProtection
}

// newOrigins panics when an origin is none of ParseOrigin's.
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
		return o // cors would take an empty list for every origin
	}
	o.cors = cors.New(cors.Options{
		AllowedOrigins: allowed,
		AllowedMethods: methods,
		// All that konto reads or answers to, and what tracing libraries send with
		// traceparent: a browser asks about all of a request's headers at once.
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
		OptionsPassthrough: true, // server.stray answers OPTIONS
	})
	return o
}

// share tells the browser whether the page that asks may read the answer.
func (o *origins) share(w http.ResponseWriter, r *http.Request) {
	if o.cors != nil {
		o.cors.ServeHTTP(w, r, func(http.ResponseWriter, *http.Request) {})
	}
}
