package main

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	traces "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// traceReceiver receives spans over OTLP.
type traceReceiver struct {
	*httptest.Server
	mu    sync.Mutex
	spans []*traces.Span
	raw   []byte // all that was received

	arrived chan struct{} // has an element if spans arrived
}

func newTraceReceiver(t *testing.T) *traceReceiver {
	r := &traceReceiver{arrived: make(chan struct{}, 1)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		var got collector.ExportTraceServiceRequest
		if err != nil || request.URL.Path != "/v1/traces" || proto.Unmarshal(body, &got) != nil {
			t.Errorf("%s was sent something else than spans: %v", request.URL.Path, err)
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.raw = append(r.raw, body...)
		for _, resource := range got.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				r.spans = append(r.spans, scope.Spans...)
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
		select {
		case r.arrived <- struct{}{}:
		default:
		}
	}))
	t.Cleanup(r.Close)
	return r
}

// tree waits until a trace has as many spans, and returns the name of each with those of its
// ancestors, such as "PATCH /v1/account > append".
func (r *traceReceiver) tree(t *testing.T, trace string, count int) []string {
	t.Helper()
	var spans []*traces.Span
	for timeout := time.After(patience); ; {
		r.mu.Lock()
		spans = slices.DeleteFunc(slices.Clone(r.spans), func(s *traces.Span) bool { return hex.EncodeToString(s.TraceId) != trace })
		r.mu.Unlock()
		if len(spans) >= count {
			break
		}
		select {
		case <-r.arrived:
		case <-timeout:
			t.Fatalf("the trace has %d spans: %v", len(spans), spans)
		}
	}
	byID := map[string]*traces.Span{}
	for _, s := range spans {
		byID[string(s.SpanId)] = s
	}
	var paths []string
	for _, s := range spans {
		path := s.Name
		for p := byID[string(s.ParentSpanId)]; p != nil; p = byID[string(p.ParentSpanId)] {
			path = p.Name + " > " + path
		}
		paths = append(paths, path)
	}
	slices.Sort(paths)
	return paths
}

func TestUpdateAndItsWebhookAreOneTrace(t *testing.T) {
	receiver := newTraceReceiver(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
	folder := t.TempDir()
	anna := newTenant(t, folder, "anna@example.com")
	parents := make(chan string, 1)
	party := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		parents <- r.Header.Get("traceparent")
	}))
	defer party.Close()
	must(t, "third-party", "add", "partner", "--url", party.URL, "--data", folder)
	p := startProcess(t, folder, deliveryFlags()...)

	// The caller's own trace goes on: its span is above konto's first one.
	const trace, caller = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	request, err := http.NewRequest("PATCH", p.url+"/v1/account", strings.NewReader(`{"email":"secret-canary@example.com"}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header = http.Header{"Authorization": {"Bearer " + anna.token}, "Content-Type": {"application/json"},
		"Traceparent": {"00-" + trace + "-" + caller + "-01"}}
	answer, err := http.DefaultClient.Do(request)
	if err != nil || answer.StatusCode != 200 {
		t.Fatalf("PATCH: %v, %v", answer, err)
	}
	answer.Body.Close()

	const root = "PATCH /v1/account"
	want := []string{root, root + " > append", root + " > deliveries", root + " > erasure", root + " > publisher", root + " > read-model", root + " > webhook"}
	if got := receiver.tree(t, trace, len(want)); !slices.Equal(got, want) {
		t.Errorf("the trace has\n%s\ninstead of\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	receiver.mu.Lock()
	defer receiver.mu.Unlock()
	sent := <-parents
	for _, s := range receiver.spans {
		switch id := hex.EncodeToString(s.SpanId); {
		case s.Name == root && hex.EncodeToString(s.ParentSpanId) != caller:
			t.Errorf("the request's span is below %x, not below the caller's", s.ParentSpanId)
		case s.Name == "webhook" && sent != "00-"+trace+"-"+id+"-01":
			t.Errorf("the third party got the traceparent %s, but the span is %s", sent, id)
		}
	}
	for _, personal := range []string{"secret-canary", anna.token} {
		if strings.Contains(string(receiver.raw), personal) {
			t.Errorf("the spans hold %q", personal)
		}
	}
}
