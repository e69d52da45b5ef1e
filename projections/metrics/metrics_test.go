package metrics

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"konto/projections"
)

func page(t *testing.T, head uint64, err error) (int, string) {
	t.Helper()
	m := New(Config{
		Head: func(context.Context) (uint64, error) { return head, err },
		Health: func() []projections.Status {
			return []projections.Status{
				{Name: "read-model", State: projections.StateFollowing, Position: 40},
				{Name: "publisher", State: projections.StateStandby, Position: 3},
			}
		},
	})
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Code, w.Body.String()
}

func TestMetricsHaveThePositionsOfFollowers(t *testing.T) {
	status, body := page(t, 42, nil)
	if status != http.StatusOK {
		t.Fatalf("answered %d", status)
	}
	for _, line := range []string{
		"konto_log_head 42\n",
		`konto_follower_position{follower="read-model"} 40` + "\n",
		`konto_follower_lag_events{follower="read-model"} 2` + "\n",
		`konto_follower_state{follower="read-model",state="following"} 1` + "\n",
		`konto_follower_state{follower="publisher",state="standby"} 1` + "\n",
		"go_goroutines ",
	} {
		if !strings.Contains(body, line) {
			t.Errorf("%q is not in %s", line, body)
		}
	}
	for _, name := range []string{"position", "lag_events"} {
		if strings.Contains(body, "konto_follower_"+name+`{follower="publisher"}`) {
			t.Errorf("a follower that stands by has a %s", name)
		}
	}
}

// A log that cannot be asked is an error, not a head of 0.
func TestUnreadableLogIsAnError(t *testing.T) {
	if status, body := page(t, 0, errors.New("disk failed")); status != http.StatusInternalServerError || strings.Contains(body, "konto_log_head 0") {
		t.Errorf("answered %d %s", status, body)
	}
}
