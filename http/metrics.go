package http

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"konto/projections"
)

// Labels of requests that belong to no contract or no route. Whatever a caller sends, the values
// of labels stay those of konto's own routes.
const (
	noContract = "none" // probes and documents
	noRoute    = "none" // there is no such path, or no such method of it
)

// requestBuckets are for answers from memory (0.2 ms) up to those that wait for a failover, in
// seconds.
var requestBuckets = []float64{.0002, .0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10}

// metrics are what is counted of all requests.
type metrics struct {
	requests *prometheus.CounterVec
	took     *prometheus.HistogramVec
	refused  *prometheus.CounterVec
}

// newMetrics makes the metrics, or returns those that the registry has of another handler: the
// administrators' API on an address of its own.
func newMetrics(with prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "konto_http_requests_total",
			Help: "Requests that were answered, by the code of the answer.",
		}, []string{"contract", "route", "method", "code"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "konto_http_request_duration_seconds", Buckets: requestBuckets,
			Help: "Time from a request's headers to the end of its answer.",
		}, []string{"contract", "route", "method"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "konto_http_refused_credentials_total",
			Help: "Requests that were refused because of their credential, by the reason.",
		}, []string{"contract", "reason"}),
	}
	if with != nil {
		m.requests, m.took, m.refused = registered(with, m.requests), registered(with, m.took), registered(with, m.refused)
	}
	return m
}

func registered[C prometheus.Collector](with prometheus.Registerer, c C) C {
	err := with.Register(c)
	var there prometheus.AlreadyRegisteredError
	switch {
	case errors.As(err, &there):
		return there.ExistingCollector.(C)
	case err != nil:
		panic(err) // a name that is another metric's
	}
	return c
}

// counted is what is counted of the requests of one method of one route. Its metrics are looked up
// once, because to look them up by their labels would take longer than to count.
type counted struct {
	contract, route, method string
	took                    prometheus.Observer
	requests                *prometheus.CounterVec
	codes                   [600]atomic.Pointer[prometheus.Counter] // of the codes that were answered
}

func (m *metrics) of(contract, route, method string) *counted {
	return &counted{
		contract: contract, route: route, method: method,
		took:     m.took.WithLabelValues(contract, route, method),
		requests: m.requests.MustCurryWith(prometheus.Labels{"contract": contract, "route": route, "method": method}),
	}
}

func (c *counted) count(code int) {
	requests := c.codes[code].Load()
	if requests == nil {
		made := c.requests.WithLabelValues(strconv.Itoa(code))
		requests = &made
		c.codes[code].Store(requests)
	}
	(*requests).Inc()
}

// refusals are the reasons why a credential is refused.
var refusals = []struct {
	err    error
	reason string
}{
	{errNoCredential, "missing"},
	{errScheme, "malformed"},
	{projections.ErrUnauthenticated, "invalid"},
	{errCrossSite, "cross_site"},
	{errForbidden, "kind"},
	{errDelegated, "delegated"},
	{errNotElevated, "role"},
	{errScope, "scope"},
}

// countRefusal counts an error that is about the credential.
func (m *metrics) countRefusal(contract string, err error) {
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			m.refused.WithLabelValues(contract, r.reason).Inc()
			return
		}
	}
}

// sent notes what is answered.
type sent struct {
	http.ResponseWriter
	code  int // 0 until the answer begins
	bytes int64
}

// WriteHeader implements http.ResponseWriter.
func (s *sent) WriteHeader(code int) {
	if s.code == 0 && code >= http.StatusOK {
		s.code = code
	}
	s.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (s *sent) Write(p []byte) (int, error) {
	if s.code == 0 {
		s.code = http.StatusOK
	}
	n, err := s.ResponseWriter.Write(p)
	s.bytes += int64(n)
	return n, err
}

// Unwrap is for http.ResponseController.
func (s *sent) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// done counts and logs the request after its answer. A request whose connection was cut has none.
func (x *exchange) done() {
	x.endSpan()
	if x.sent.code == 0 {
		return
	}
	took := x.Now().Sub(x.began)
	x.counted.count(x.sent.code)
	if !x.streams {
		x.counted.took.Observe(took.Seconds())
	}
	if x.AccessLog != nil {
		x.logAccess(took)
	}
}

// logAccess logs the request without anything that the caller wrote: no path, query, body or
// address.
func (x *exchange) logAccess(took time.Duration) {
	attributes := []slog.Attr{
		slog.String("contract", x.counted.contract), slog.String("route", x.counted.route), slog.String("method", x.counted.method),
		slog.Int("status", x.sent.code), slog.Duration("duration", took), slog.Int64("bytes", x.sent.bytes), slog.String("request", x.id),
	}
	if x.caller.Kind != "" {
		attributes = append(attributes, slog.String("credential", x.caller.Kind))
	}
	if x.caller.ID != (ulid.ULID{}) && x.caller.AuthType != authJWT { // a JWT names its subject
		attributes = append(attributes, slog.String("credential_id", x.caller.ID.String()))
	}
	x.AccessLog.LogAttrs(context.Background(), slog.LevelInfo, "request", attributes...)
}
