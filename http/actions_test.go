package http

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"konto/commands"
	"konto/events"
	"konto/projections"
)

// mailedCode returns the code of an account's pending change of address, which is
// only mailed.
func (h *harness) mailedCode(account string) string {
	h.t.Helper()
	a, err := h.accounts.Load(h.t.Context(), h.ids[account])
	h.must(err)
	return events.NewEmailCodes(h.store.Derive).Code(a.EmailChange.Request)
}

// TestPasswordChangeIsNotAnsweredBeforeSessionsAreClosed changes the password in one
// of two sessions while no follower runs. The other one may still be open, so the
// answer must not say that it is closed.
func TestPasswordChangeIsNotAnsweredBeforeSessionsAreClosed(t *testing.T) {
	h := anna(t)
	stopped := projections.NewFollower(projections.FollowerConfig{Store: h.store, Projection: h.cfg.Access})
	ctx, stop := context.WithCancel(t.Context())
	stop()
	h.must(stopped.Run(ctx))
	cfg := h.cfg
	cfg.Reader = &projections.Reader{Store: h.store, Model: h.cfg.Access, Follower: stopped}
	server := httptest.NewServer(New(cfg))
	t.Cleanup(server.Close)
	h.server = server
	status, answer := h.send("POST", "/api/v2/me/actions/change-password", "key", strings.NewReader(`{"newPassword":"pink giraffe on a tram"}`))
	if status != 500 {
		t.Errorf("%d %s", status, answer)
	}
}

// noCounts is what cannot be asked how often something was tried.
type noCounts struct{ commands.Counts }

func (noCounts) Add(context.Context, string, []byte, int, time.Duration) (int, time.Duration, error) {
	return 0, 0, errors.New("connection refused")
}

func TestUncountedTriesAreUnavailable(t *testing.T) {
	h := anna(t)
	body := `{"currentPassword":"guessed","newPassword":"pink giraffe on a tram"}`
	if status, answer := h.send("POST", "/api/v2/me/actions/change-password", "key", strings.NewReader(`{"newPassword":"correct horse battery staple"}`)); status != 200 {
		t.Fatalf("%d %s", status, answer)
	}
	cfg := h.cfg
	cfg.Accounts = commands.NewAccounts(commands.Config{Store: h.store, Counts: noCounts{}})
	documented := &script{harness: h, t: t, shown: map[string]bool{}}
	w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "/api/v2/me/actions/change-password", strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+h.words["key"])
	r.Header.Set("Content-Type", mediaJSON)
	New(cfg).ServeHTTP(w, r)
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	documented.requireDocumented(t, &call{request: r, sent: body, received: w.Body.String(), answer: w.Result()})
	if log := h.log.String(); !strings.Contains(log, "connection refused") || strings.Contains(w.Body.String(), "refused") {
		t.Errorf("the log says %q and the answer %s", log, w.Body)
	}
}

// TestTooManyRequestsNameTheLimit checks that a 429 describes the limit that was
// reached, although the limit on requests is far away.
func TestTooManyRequestsNameTheLimit(t *testing.T) {
	for name, tt := range map[string]struct {
		path, body string // %d is another number each time
		allowed    int    // how many requests are not refused
		limit      string
		policy     string
		seconds    int
	}{
		"requests for a code": {"POST /api/v2/me/actions/change-email", `{"newEmail":"eva%d@example.com"}`, 10, "10", `"email-requests";q=10;w=3600`, 3600},
		"taken addresses":     {"PATCH /v1/account", `{"email":"bo@example.com","name":"Eva %d"}`, 10, "10", `"email-requests";q=10;w=3600`, 3600},
		"wrong codes":         {"POST /v1/account/confirm-email", `{"code":"wrong%d"}`, 10, "10", `"email-codes";q=10;w=3600`, 3600},
		"wrong passwords":     {"POST /api/v2/me/actions/change-password", `{"currentPassword":"guessed %d","newPassword":"pink giraffe on a tram"}`, 10, "10", `"passwords";q=10;w=600`, 600},
	} {
		t.Run(name, func(t *testing.T) {
			h := anna(t)
			cfg := h.cfg
			cfg.RateLimit, cfg.EmailChangePolicy = RateLimit{PerMinute: 1000}, EmailVerify
			handler, documented := New(cfg), &script{harness: h, t: t, shown: map[string]bool{}}
			send := func(path, body string) *httptest.ResponseRecorder {
				method, path, _ := strings.Cut(path, " ")
				w, r := httptest.NewRecorder(), httptest.NewRequest(method, path, strings.NewReader(body))
				r.Header.Set("Authorization", "Bearer "+h.words["key"])
				r.Header.Set("Content-Type", mediaJSON)
				handler.ServeHTTP(w, r)
				documented.requireDocumented(t, &call{request: r, sent: body, received: w.Body.String(), answer: w.Result()})
				return w
			}
			if name == "wrong passwords" {
				send("POST /api/v2/me/actions/change-password", `{"newPassword":"correct horse battery staple"}`)
			}
			for i := 0; ; i++ {
				if name == "wrong codes" && i%5 == 0 { // five wrong ones end a request
					send("POST /api/v2/me/actions/change-email", fmt.Sprintf(`{"newEmail":"eva%d@example.com"}`, i))
				}
				w := send(tt.path, fmt.Sprintf(tt.body, i))
				if w.Code != http.StatusTooManyRequests && i < 100 && (name != "wrong codes" || i < tt.allowed) {
					continue
				}
				if name == "wrong codes" { // the limit stands before another request
					w = send("PATCH /v1/account", `{"email":"ida@example.com"}`)
				}
				header := w.Header()
				after, err := strconv.Atoi(header.Get("Retry-After"))
				if w.Code != http.StatusTooManyRequests || i != tt.allowed || err != nil || after < tt.seconds-60 || after > tt.seconds {
					t.Errorf("request %d: %d, Retry-After %q", i, w.Code, header.Get("Retry-After"))
				}
				reset, err := time.Parse(time.RFC3339, header.Get("X-RateLimit-Reset"))
				if until := time.Until(reset); err != nil || until > time.Duration(tt.seconds)*time.Second || until < time.Duration(tt.seconds-60)*time.Second {
					t.Errorf("X-RateLimit-Reset is %q", header.Get("X-RateLimit-Reset"))
				}
				left := fmt.Sprintf(";r=0;t=%d", after)
				if header.Get("X-RateLimit-Limit") != tt.limit || header.Get("X-RateLimit-Remaining") != "0" ||
					header.Get("RateLimit-Policy") != tt.policy || !strings.HasSuffix(header.Get("RateLimit"), left) {
					t.Errorf("headers are %v", header)
				}
				return
			}
		})
	}
}
