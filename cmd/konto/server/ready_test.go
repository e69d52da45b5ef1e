package server

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"konto/cmd/konto/datafolder"
	kontohttp "konto/http"
	"konto/projections/metrics"
)

// While the read model catches up, the probes are answered and other requests wait.
func TestRequestsWaitUntilKontoHasCaughtUp(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	folder, err := datafolder.Open(t.Context(), datafolder.Config{Path: t.TempDir() + "/data", Begin: true, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	s := &Server{folder: folder, log: log, answering: make(chan struct{}), metrics: metrics.New(metrics.Config{})}
	ctx, stop := context.WithCancel(t.Context())
	cfg, err := s.web()
	if err != nil {
		t.Fatal(err)
	}
	web := s.held(ctx, kontohttp.New(cfg))
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		web.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		body, _ := io.ReadAll(w.Body)
		return w.Code, string(body)
	}
	if status, _ := get("/livez"); status != http.StatusOK {
		t.Errorf("/livez answered %d", status)
	}
	s.draining.Store(true)
	if status, body := get("/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "\nIt is about to end") || !strings.Contains(body, "\nIt starts") {
		t.Errorf("/readyz answered %d %s", status, body)
	}
	close(s.answering)
	if status, _ := get("/v1/account"); status != http.StatusUnauthorized {
		t.Errorf("/v1/account answered %d", status)
	}

	s.answering = make(chan struct{})
	stop()
	defer func() {
		if cause := recover(); cause != http.ErrAbortHandler {
			t.Errorf("a request that waited when konto ended: %v", cause)
		}
	}()
	get("/v1/account")
}
