package tracing_test

import (
	"strings"
	"testing"
	"time"

	"konto/events/tracing"
)

const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestWithoutAReceiverSpansCostNothing(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
	stop, err := tracing.Export(t.Context(), "v1", nil)
	if err != nil || tracing.On() {
		t.Fatalf("on: %t, %v", tracing.On(), err)
	}
	began := time.Now()
	if n := testing.AllocsPerRun(100, func() {
		s := tracing.Begin(tracing.Server, "request", parent, "")
		s.Set("name", "value")
		s.End("")
		tracing.Did("append", parent, "", began, "")
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if err := stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestOtherProtocolsAreRefused(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	if _, err := tracing.Export(t.Context(), "v1", nil); err == nil || !strings.Contains(err.Error(), "http/protobuf only") || tracing.On() {
		t.Errorf("on: %t, %v", tracing.On(), err)
	}
}

func TestTraceOfACallerThatDoesNotSampleIsKept(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1") // nobody is asked: nothing is sampled
	stop, err := tracing.Export(t.Context(), "v1", func(err error) { t.Error(err) })
	if err != nil || !tracing.On() {
		t.Fatalf("on: %t, %v", tracing.On(), err)
	}
	s := tracing.Begin(tracing.Server, "request", strings.TrimSuffix(parent, "1")+"0", "a=b")
	defer s.End("")
	below, state := s.Context()
	if !strings.HasPrefix(below, parent[:36]) || !strings.HasSuffix(below, "-00") || state != "a=b" {
		t.Errorf("below it is %s, %s", below, state)
	}
	if err := stop(t.Context()); err != nil || tracing.On() {
		t.Errorf("on: %t, %v", tracing.On(), err)
	}
}
