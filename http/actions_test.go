package http

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"konto/events"
	"konto/projections"
)

// mailedCode is the code of an account's pending change of address, which is
// only mailed.
func (h *house) mailedCode(account string) string {
	h.t.Helper()
	a, err := h.accounts.Load(h.t.Context(), h.ids[account])
	h.must(err)
	return events.NewEmailCodes(h.store.Derive).Code(a.EmailChange.Request)
}

// Of two sessions one changes the password while nobody follows the log any
// more: the other one may still be open, and so it must not be said to be closed.
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

func TestOneRequestTooManyForACodeTellsWhenToComeBack(t *testing.T) {
	h := anna(t)
	for i := 0; ; i++ {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/api/v2/me/actions/change-email",
			strings.NewReader(fmt.Sprintf(`{"newEmail":"eva%d@example.com"}`, i)))
		r.Header.Set("Authorization", "Bearer "+h.words["key"])
		r.Header.Set("Content-Type", mediaJSON)
		h.server.Config.Handler.ServeHTTP(w, r)
		if w.Code == http.StatusOK && i < 100 {
			continue
		}
		after, err := strconv.Atoi(w.Header().Get("Retry-After"))
		if w.Code != http.StatusTooManyRequests || i != 10 || err != nil || after < 3500 || after > 3600 {
			t.Errorf("request %d: %d, Retry-After %q", i, w.Code, w.Header().Get("Retry-After"))
		}
		return
	}
}
