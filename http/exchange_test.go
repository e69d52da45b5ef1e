package http

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"konto/commands"
	"konto/events"
	"konto/eventstore"
	"konto/projections"
)

// send sends a request with a key, checks the answer against the OpenAPI documents,
// and returns its status and body. Any goroutine may call it. If there is no answer,
// the test fails.
func (h *harness) send(method, path, key string, body io.Reader, headers ...string) (int, string) {
	r, err := http.NewRequestWithContext(h.t.Context(), method, h.server.URL+path, body)
	if err != nil {
		h.t.Error(err)
		return 0, ""
	}
	r.Header.Set("Authorization", "Bearer "+h.words[key])
	r.Header.Set("Content-Type", mediaJSON)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := h.server.Client().Do(r)
	if err != nil {
		h.t.Error(err)
		return 0, ""
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		h.t.Error(err)
	}
	_, _, undocumented := (&call{request: r, received: string(text), answer: answer}).answered()
	for _, err := range undocumented {
		h.t.Error(err)
	}
	return answer.StatusCode, string(text)
}

// anna returns a harness with one account, a key, a client and two sessions for it.
func anna(t *testing.T) *harness {
	h := newHarness(t)
	id := h.open("anna", commands.Open{Email: "anna@example.com", PaywayID: "50f3ac249f6aef294d000007"})
	bo := h.open("bo", commands.Open{Email: "bo@example.com"})
	h.key("key", events.KeyIssued{Account: id, Scopes: []string{"read:account", "write:account"}})
	h.key("client", events.KeyIssued{Client: "adeprimo", Scopes: []string{"/external/account/w"}})
	h.session("admin", events.SessionOpened{Account: id, Admin: "root"})
	h.session("elevated", events.SessionOpened{Account: id, Admin: "root", Roles: []string{"account-admin"}})
	h.session("delegated", events.SessionOpened{Account: id, Parent: bo, Label: "Bo"})
	return h
}

func TestBodiesAboveTheLimitAreRefused(t *testing.T) {
	h := anna(t)
	body := func(size int) string { return `{"firstName":"Eva"` + strings.Repeat(" ", size-19) + "}" }
	for name, test := range map[string]struct {
		size   int
		length bool // whether the caller sends the length in advance
		want   int
	}{
		"at the limit":              {maxBody, true, 200},
		"at the limit, chunked":     {maxBody, false, 200},
		"above the limit":           {maxBody + 1, true, 413},
		"above the limit, chunked":  {maxBody + 1, false, 413},
		"far above, not read whole": {100 * maxBody, false, 413},
	} {
		var text io.Reader = strings.NewReader(body(test.size))
		if !test.length {
			text = io.MultiReader(text) // net/http does not know its length
		}
		status, answer := h.send("PATCH", "/api/v2/me", "key", text)
		if status != test.want || status == 413 && !strings.Contains(answer, `"code":"payload_too_large"`) {
			t.Errorf("%s: %d %s", name, status, answer)
		}
	}
}

func TestEventsRecordWhoCausedThem(t *testing.T) {
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	h := anna(t)
	for name, test := range map[string]struct {
		method, path, key, body string
		want                    events.Metadata
	}{
		"hostup": {"PATCH", "/api/v2/me", "key", `{"firstName":"A"}`,
			events.Metadata{Actor: events.Actor{Kind: "account"}, Contract: "hostup", Trace: trace, TraceState: "congo=t6"}},
		"hostup, impersonated": {"PATCH", "/api/v2/me", "admin", `{"firstName":"B"}`,
			events.Metadata{Actor: events.Actor{Kind: "session"}, Impersonator: "root", Contract: "hostup", Trace: trace, TraceState: "congo=t6"}},
		"payway": {"PUT", "/external/api/v1/accounts", "client", `{"id":"50f3ac249f6aef294d000007","first_name":"C"}`,
			events.Metadata{Actor: events.Actor{Kind: "client"}, Contract: "payway.v1", Trace: trace, TraceState: "congo=t6"}},
		"payway, earlier": {"PUT", "/external/api/v0/accounts", "client", `{"id":"50f3ac249f6aef294d000007","first_name":"D"}`,
			events.Metadata{Actor: events.Actor{Kind: "client"}, Contract: "payway.v0", Trace: trace, TraceState: "congo=t6"}},
		"generic": {"PATCH", "/v1/account", "key", `{"name":"E"}`,
			events.Metadata{Actor: events.Actor{Kind: "account"}, Contract: "generic", Trace: trace, TraceState: "congo=t6"}},
	} {
		before := h.head()
		if status, answer := h.send(test.method, test.path, test.key, strings.NewReader(test.body), "Traceparent", trace, "Tracestate", "congo=t6"); status != 200 {
			t.Errorf("%s: %d %s", name, status, answer)
			continue
		}
		got := h.since(before)[0].Metadata
		test.want.RequestID, test.want.Actor.ID = got.RequestID, h.ids[test.key].String()
		if got != test.want || got.RequestID == "" {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}

// The log is closed, which gives an error that no table has.
func TestFailuresAreLoggedOnceAndAnsweredWithoutDetails(t *testing.T) {
	h := anna(t)
	h.closeLog()
	for path, test := range map[string]struct{ method, key, body, want string }{
		"/api/v2/me":                {"PATCH", "key", `{"firstName":"Secret"}`, `"type":"https://developer.hostup.se/errors/internal_error"`},
		"/external/api/v1/accounts": {"PUT", "client", `{"id":"50f3ac249f6aef294d000007","first_name":"Secret"}`, `{"code":"internal_server_error","field":null,"message":"Something unexpected happened server side"}`},
		"/v1/account":               {"PATCH", "key", `{"name":"Secret"}`, `{"error":"internal_error",`},
	} {
		before := strings.Count(h.log.String(), "\n")
		status, answer := h.send(test.method, path, test.key, strings.NewReader(test.body))
		if status != 500 || !strings.Contains(answer, test.want) || strings.Contains(answer, eventstore.ErrClosed.Error()) {
			t.Errorf("%s: %d %s", path, status, answer)
		}
		logged := h.log.String()
		if n := strings.Count(logged, "\n") - before; n != 1 || !strings.Contains(logged, eventstore.ErrClosed.Error()) || strings.Contains(logged, "Secret") {
			t.Errorf("%s: %d lines logged: %s", path, n, logged)
		}
	}
}

func TestPanicsAreLoggedOnceAndAnsweredWithoutDetails(t *testing.T) {
	log := &lockedBuffer{}
	h := New(Config{Log: slog.New(slog.NewJSONHandler(log, nil))}) // Access is missing
	for path, want := range map[string]string{
		"/api/v2/me":  `"type":"https://developer.hostup.se/errors/internal_error"`,
		"/v1/account": `{"error":"internal_error",`,
	} {
		before := strings.Count(log.String(), "\n")
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", path, nil)
		r.Header.Set("Authorization", "Bearer "+events.Token([16]byte{}, [events.SecretSize]byte{}))
		h.ServeHTTP(w, r)
		if w.Code != 500 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
		if n := strings.Count(log.String(), "\n") - before; n != 1 || !strings.Contains(log.String(), w.Header().Get("X-Request-Id")) {
			t.Errorf("%s: %d lines logged: %s", path, n, log)
		}
	}
}

func TestPanicThatAbortsTheHandlerIsNotRecovered(t *testing.T) {
	h := New(Config{Health: func() []projections.Status { panic(http.ErrAbortHandler) }})
	defer func() {
		if cause := recover(); cause != http.ErrAbortHandler {
			t.Errorf("panic is %v", cause)
		}
	}()
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/healthz", nil))
}

func TestHealthReportsTheFollowers(t *testing.T) {
	h := newHarness(t)
	h.open("a", commands.Open{Email: "a@example.com"})
	for _, test := range []struct {
		state  string
		status int
		want   string
	}{
		{projections.StateFollowing, 200, "ok"},
		{projections.StateStandby, 200, "ok"},
		{projections.StateWaiting, 200, "degraded"},
		{projections.StateRetrying, 503, "failing"},
		{projections.StateStopped, 503, "failing"},
	} {
		cfg := h.cfg
		cfg.Health = func() []projections.Status {
			return []projections.Status{
				{Name: "b", State: test.state, Position: 3, Error: "poison"},
				{Name: "a", State: projections.StateFollowing, Position: 7},
			}
		}
		w := httptest.NewRecorder()
		New(cfg).ServeHTTP(w, httptest.NewRequest("GET", "/healthz", nil))
		want := fmt.Sprintf(`{"status":%q,"head":1,"followers":[{"name":"b","state":%q,"position":3,"error":"poison"},{"name":"a","state":"following","position":7}]}`,
			test.want, test.state)
		if w.Code != test.status || w.Body.String() != want {
			t.Errorf("%s: %d %s", test.state, w.Code, w.Body)
		}
	}
}

// A proxy takes a node out of service before the node ends, and no request fails meanwhile.
func TestDrainingIsReportedAndRequestsAreAnswered(t *testing.T) {
	h := anna(t)
	cfg, draining := h.cfg, false
	cfg.Draining = func() bool { return draining }
	web := New(cfg)
	get := func(path string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", path, nil)
		r.Header.Set("Authorization", "Bearer "+h.words["key"])
		w := httptest.NewRecorder()
		web.ServeHTTP(w, r)
		return w
	}
	for _, draining = range []bool{false, true} {
		status, want, connection := 200, "ok", ""
		if draining {
			status, want, connection = 503, "draining", "close"
		}
		if w := get("/healthz"); w.Code != status || !strings.HasPrefix(w.Body.String(), `{"status":"`+want+`",`) {
			t.Errorf("draining %v: %d %s", draining, w.Code, w.Body)
		}
		if w := get("/api/v2/me"); w.Code != 200 || w.Header().Get("Connection") != connection {
			t.Errorf("draining %v: %d, connection %q", draining, w.Code, w.Header().Get("Connection"))
		}
	}
}

func TestHealthReportsTheComponents(t *testing.T) {
	h := newHarness(t)
	for _, test := range []struct {
		state  string
		status int
		want   string
	}{
		{projections.StateRunning, 200, "ok"},
		{projections.StateWaiting, 200, "degraded"},
		{projections.StateRetrying, 200, "degraded"},
		{projections.StateStopped, 503, "failing"},
	} {
		cfg := h.cfg
		cfg.Health = nil
		cfg.Components = func() []projections.Component {
			return []projections.Component{
				{Name: "nats", State: projections.StateRunning, Warnings: []string{"the stream KONTO is small"}},
				{Name: "mailer", State: test.state, Error: "no server"},
			}
		}
		w := httptest.NewRecorder()
		New(cfg).ServeHTTP(w, httptest.NewRequest("GET", "/healthz", nil))
		want := fmt.Sprintf(`"components":[{"name":"nats","state":"running","warnings":["the stream KONTO is small"]},{"name":"mailer","state":%q,"error":"no server"}]}`, test.state)
		if w.Code != test.status || !strings.HasPrefix(w.Body.String(), `{"status":"`+test.want+`",`) || !strings.HasSuffix(w.Body.String(), want) {
			t.Errorf("%s: %d %s", test.state, w.Code, w.Body)
		}
	}
}

func TestHealthFailsIfTheLogCannotBeRead(t *testing.T) {
	h := newHarness(t)
	h.closeLog()
	w := httptest.NewRecorder()
	New(h.cfg).ServeHTTP(w, httptest.NewRequest("GET", "/healthz", nil))
	if w.Code != 503 || !strings.HasPrefix(w.Body.String(), `{"status":"failing",`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestDisconnectedCallerStoresNothingAndIsNotLogged(t *testing.T) {
	h := anna(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	before := h.head()
	r := httptest.NewRequestWithContext(ctx, "PATCH", "/api/v2/me", strings.NewReader(`{"firstName":"Eva"}`))
	r.Header.Set("Authorization", "Bearer "+h.words["key"])
	r.Header.Set("Content-Type", mediaJSON)
	New(h.cfg).ServeHTTP(httptest.NewRecorder(), r)
	if h.log.String() != "" || h.head() != before {
		t.Errorf("head %d after %d, logged %s", h.head(), before, h.log)
	}
}
