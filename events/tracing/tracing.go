// Package tracing exports spans over OTLP. A trace goes from a request through the append of its
// events, their publication and the read model to the webhooks that they cause. The packages that do
// these things have only the event, some of them long after the request, so a span's parent is a
// traceparent: that of the request, or of the event's metadata.
//
// Nothing is exported unless Export was called and a variable names a receiver. All functions then
// cost one atomic load.
package tracing

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Recent is how old an event may be for its followers to make spans. A read model that is made anew
// would otherwise export a span for each event of the log, in traces that ended long ago.
const Recent = 10 * time.Minute

// tracer is nil while nothing is exported.
var tracer atomic.Pointer[trace.Tracer]

// On reports whether spans are exported.
func On() bool { return tracer.Load() != nil }

// Export begins to export spans to the receiver that the OTEL_ variables of the OpenTelemetry
// specification name. Without OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_TRACES_ENDPOINT it
// does nothing. warn is called when spans could not be exported. stop exports what is left.
func Export(ctx context.Context, version string, warn func(error)) (stop func(context.Context) error, err error) {
	stop = func(context.Context) error { return nil }
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT")+os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" ||
		strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") || os.Getenv("OTEL_TRACES_EXPORTER") == "none" {
		return stop, nil
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if protocol := os.Getenv(name); protocol != "" && protocol != "http/protobuf" {
			return stop, fmt.Errorf("%s is %s: konto exports traces with http/protobuf only", name, protocol)
		}
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return stop, fmt.Errorf("export traces: %w", err)
	}
	// What the environment says of the service goes before konto's own words.
	about, err := resource.New(ctx, resource.WithAttributes(
		attribute.String("service.name", "konto"), attribute.String("service.version", version)),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return stop, fmt.Errorf("export traces: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(warn))
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(about))
	t := provider.Tracer("konto")
	tracer.Store(&t)
	return func(ctx context.Context) error {
		tracer.Store(nil)
		return provider.Shutdown(ctx)
	}, nil
}

// Kind says which side of a request a span is.
type Kind = trace.SpanKind

// The sides.
const (
	Server = trace.SpanKindServer
	Client = trace.SpanKindClient
)

// Span is a span that has begun. The methods of nil do nothing.
type Span struct{ span trace.Span }

// Begin begins a span below the one that a traceparent and a tracestate name. If they name none, it
// is the first of a trace. Begin returns nil while nothing is exported.
func Begin(kind Kind, name, parent, state string) *Span {
	return begin(kind, name, parent, state, time.Now())
}

func begin(kind Kind, name, parent, state string, at time.Time) *Span {
	t := tracer.Load()
	if t == nil {
		return nil
	}
	ctx := propagation.TraceContext{}.Extract(context.Background(),
		propagation.MapCarrier{"traceparent": parent, "tracestate": state})
	_, span := (*t).Start(ctx, name, trace.WithSpanKind(kind), trace.WithTimestamp(at))
	return &Span{span}
}

// Context returns the traceparent and the tracestate of the span, for spans below it.
func (s *Span) Context() (parent, state string) {
	if s == nil {
		return "", ""
	}
	c := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(trace.ContextWithSpan(context.Background(), s.span), c)
	return c["traceparent"], c["tracestate"]
}

// Set sets attributes: a name, its value, a name, and so on. Values have no personal data.
func (s *Span) Set(pairs ...string) {
	if s == nil {
		return
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		s.span.SetAttributes(attribute.String(pairs[i], pairs[i+1]))
	}
}

// SetInt sets an attribute that is a number.
func (s *Span) SetInt(name string, value int) {
	if s != nil {
		s.span.SetAttributes(attribute.Int(name, value))
	}
}

// End ends the span. problem is "" if all went well, and has no personal data.
func (s *Span) End(problem string) {
	if s == nil {
		return
	}
	if problem != "" {
		s.span.SetStatus(codes.Error, problem)
	}
	s.span.End()
}

// Did exports a span of konto's own work, which began at a time and ends now, below the one that
// parent and state name. It does nothing if parent is "": what no request caused has no trace. pairs
// are as in Set.
func Did(name, parent, state string, began time.Time, problem string, pairs ...string) {
	if parent == "" || !On() {
		return
	}
	s := begin(trace.SpanKindInternal, name, parent, state, began)
	s.Set(pairs...)
	s.End(problem)
}
