package http

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// observed is Anna's konto with metrics and an access log. send sends requests with her key.
func observed(t *testing.T) (h *harness, registry *prometheus.Registry, access *lockedBuffer, send func(method, target, token, body string)) {
	h = anna(t)
	registry, access = prometheus.NewRegistry(), &lockedBuffer{}
	cfg := h.cfg
	cfg.Metrics, cfg.AccessLog = registry, slog.New(slog.NewJSONHandler(access, nil))
	web := New(cfg)
	return h, registry, access, func(method, target, token, body string) {
		r := httptest.NewRequest(method, target, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		web.ServeHTTP(httptest.NewRecorder(), r)
	}
}

func TestRequestsAreCountedByRouteAndCode(t *testing.T) {
	h, registry, _, send := observed(t)
	key := h.words["key"]
	for range 2 {
		send("GET", "/api/v2/me?a=b", key, "")
	}
	send("PATCH", "/api/v2/me", key, `{"firstName":""}`)
	send("GET", "/api/v2/me", "", "")
	send("GET", "/v1/account", "konto_unknown", "")
	send("PUT", "/external/api/v1/accounts", key, "{}")
	send("GET", "/external/anna@example.com", "", "")
	send("BREW", "/v1/account", "", "")
	send("GET", "/docs/backup", "", "")
	send("GET", "/healthz", "", "")
	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	var counted []string
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "konto_http_requests_total{") || strings.HasPrefix(line, "konto_http_refused_credentials_total{") {
			counted = append(counted, strings.TrimPrefix(strings.TrimSpace(line), "konto_http_"))
		}
	}
	want := []string{
		`refused_credentials_total{contract="generic",reason="invalid"} 1`,
		`refused_credentials_total{contract="hostup",reason="missing"} 1`,
		`refused_credentials_total{contract="payway.v1",reason="kind"} 1`,
		`requests_total{code="200",contract="hostup",method="GET",route="/api/v2/me"} 2`,
		`requests_total{code="200",contract="none",method="GET",route="/healthz"} 1`,
		`requests_total{code="200",contract="none",method="GET",route="document"} 1`,
		`requests_total{code="400",contract="hostup",method="PATCH",route="/api/v2/me"} 1`,
		`requests_total{code="401",contract="generic",method="GET",route="/v1/account"} 1`,
		`requests_total{code="401",contract="hostup",method="GET",route="/api/v2/me"} 1`,
		`requests_total{code="403",contract="payway.v1",method="PUT",route="/external/api/v1/accounts"} 1`,
		`requests_total{code="404",contract="payway.v1",method="any",route="none"} 1`,
		`requests_total{code="405",contract="generic",method="any",route="none"} 1`,
	}
	if !slices.Equal(counted, want) {
		t.Errorf("counted\n%s", strings.Join(counted, "\n"))
	}
	if timed := `konto_http_request_duration_seconds_count{contract="hostup",method="GET",route="/api/v2/me"} 3` + "\n"; !strings.Contains(w.Body.String(), timed) {
		t.Errorf("%s is not in\n%s", timed, w.Body)
	}
}

// Counting costs every request, so it looks up no labels.
func TestCountingAllocatesNothing(t *testing.T) {
	c := newMetrics(nil).of("hostup", "/api/v2/me", "GET")
	c.count(200)
	if n := testing.AllocsPerRun(100, func() { c.count(200) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAccessLogHoldsNothingThatTheCallerWrote(t *testing.T) {
	h, _, access, send := observed(t)
	send("PATCH", "/v1/account?secret=query", h.words["key"], `{"name":"Secret Name"}`)
	send("GET", "/v1/secret-path", "secret-token", "")
	log := access.String()
	if strings.Contains(strings.ToLower(log), "secret") || strings.Contains(log, "192.0.2.1") {
		t.Errorf("the access log holds what the caller wrote: %s", log)
	}
	var lines []map[string]any
	for line := range strings.Lines(log) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, m)
	}
	if len(lines) != 2 {
		t.Fatalf("%d lines: %s", len(lines), log)
	}
	for i, want := range []map[string]any{
		{"contract": "generic", "route": "/v1/account", "method": "PATCH", "status": 200.0, "credential": "key"},
		{"contract": "generic", "route": "none", "method": "any", "status": 404.0},
	} {
		for name, value := range want {
			if lines[i][name] != value {
				t.Errorf("%s is %v, not %v", name, lines[i][name], value)
			}
		}
		if id, _ := lines[i]["request"].(string); !strings.HasPrefix(id, "req_") || lines[i]["duration"] == nil || lines[i]["bytes"] == 0.0 {
			t.Errorf("line %d: %v", i, lines[i])
		}
	}
	if id, _ := lines[0]["credential_id"].(string); len(id) != 26 {
		t.Errorf("the credential's id is %q", id)
	}
}

func TestRootSendsBrowsersToTheDocuments(t *testing.T) {
	web := New(Config{})
	for accept, want := range map[string]string{"text/html,application/xhtml+xml,*/*;q=0.8": "/docs", "*/*": "", "": ""} {
		answer := ask(web, "GET", "/", "Accept", accept)
		if answer.Header.Get("Location") != want || (answer.StatusCode == 302) != (want != "") {
			t.Errorf("Accept %q: %d %q", accept, answer.StatusCode, answer.Header.Get("Location"))
		}
	}
	var shown struct{ OpenAPI []string }
	if err := json.UnmarshalRead(ask(web, "GET", "/").Body, &shown, json.MatchCaseInsensitiveNames(true)); err != nil || len(shown.OpenAPI) != 3 {
		t.Fatalf("%v, %v", shown, err)
	}
	for _, path := range shown.OpenAPI {
		if answer := ask(web, "GET", path); answer.StatusCode != 200 {
			t.Errorf("%s answers %d", path, answer.StatusCode)
		}
	}
}

func TestLivezNeedsNothing(t *testing.T) {
	if answer := ask(New(Config{}), "GET", "/livez"); answer.StatusCode != 200 {
		t.Errorf("answered %d", answer.StatusCode)
	}
}

func TestReadinessNamesEachReason(t *testing.T) {
	var found Readiness
	web := New(Config{Readiness: func(context.Context) Readiness { return found }})
	for _, test := range []struct {
		found  Readiness
		status int
		body   string
	}{
		{Readiness{}, 200, "konto is ready.\n"},
		{Readiness{Warnings: []string{"nats waits."}}, 200, "konto is ready.\nWarning: nats waits.\n"},
		{Readiness{Reasons: []Reason{{"log", "The log is\nfull."}, {"draining", "It ends."}}, Warnings: []string{"a"}}, 503,
			"konto is not ready.\nThe log is full.\nIt ends.\nWarning: a\n"},
	} {
		found = test.found
		answer := ask(web, "GET", "/readyz")
		if body := readAll(t, answer.Body); answer.StatusCode != test.status || body != test.body {
			t.Errorf("%v: %d %q", test.found, answer.StatusCode, body)
		}
	}
}
