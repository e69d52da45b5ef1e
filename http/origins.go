package http

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/rs/cors"
)

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
