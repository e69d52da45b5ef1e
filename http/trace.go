package http

import (
	"net/http"
	"strconv"

	"konto/events"
	"konto/events/tracing"
)

// beginSpan begins the request's span if traces are exported. Probes and documents have none.
func (x *exchange) beginSpan() {
	if !tracing.On() || x.counted.contract == noContract {
		return
	}
	parent, state := x.callersTrace()
	x.span = tracing.Begin(tracing.Server, x.counted.method+" "+x.counted.route, parent, state)
	x.span.Set("http.request.method", x.r.Method, "http.route", x.counted.route,
		"konto.contract", x.counted.contract, "konto.request.id", x.id)
}

func (x *exchange) endSpan() {
	x.span.SetInt("http.response.status_code", x.sent.code)
	problem := ""
	switch {
	case x.sent.code == 0:
		problem = "not answered"
	case x.sent.code >= http.StatusInternalServerError:
		problem = "answered " + strconv.Itoa(x.sent.code)
	}
	x.span.End(problem)
}

func (x *exchange) callersTrace() (parent, state string) {
	return events.TraceContext(x.r.Header["Traceparent"], x.r.Header["Tracestate"])
}

// trace returns the traceparent and tracestate that events record: those of the request's span, or
// of the caller's if there is none.
func (x *exchange) trace() (parent, state string) {
	if x.span != nil {
		return x.span.Context()
	}
	return x.callersTrace()
}
