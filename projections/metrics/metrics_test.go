package metrics

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"konto/projections"
)

func page(t *testing.T, head uint64, err error) (int, string) {
	t.Helper()
	m := New(Config{
		Version: "v1.2.3", Folder: t.TempDir(),
		Components: func() []projections.Component {
			return []projections.Component{{Name: "mailer", State: projections.StateRetrying}}
		},
		NotReady:  func(context.Context) map[string]bool { return map[string]bool{"log": err != nil, "draining": false} },
		Connected: func() bool { return true },
		Queues:    func(context.Context) (Queues, error) { return Queues{Mail: 3, DeadLetters: 2}, nil },
		Backups:   func() map[string]time.Time { return map[string]time.Time{"log": time.Unix(1764000000, 0), "keys": {}} },
		Head:      func(context.Context) (uint64, error) { return head, err },
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
		`konto_build_info{goversion="` + runtime.Version() + `",version="v1.2.3"} 1` + "\n",
		"konto_ready 1\n",
		`konto_not_ready{reason="log"} 0` + "\n",
		`konto_component_state{component="mailer",state="retrying"} 1` + "\n",
		"konto_nats_up 1\n",
		"konto_mail_waiting_codes 3\n",
		"konto_inbound_dead_letters 2\n",
		`konto_file_size_bytes{file="jetstream"} 0` + "\n",
		"konto_disk_size_bytes ",
		`konto_last_backup_timestamp_seconds{of="log"} 1.764e+09` + "\n",
		`konto_last_backup_timestamp_seconds{of="keys"} 0` + "\n",
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

// While the log cannot be read, it has no head, and all other metrics are what an operator needs.
func TestUnreadableLogHidesNoOtherMetric(t *testing.T) {
	status, body := page(t, 0, errors.New("disk failed"))
	if status != http.StatusOK || strings.Contains(body, "konto_log_head ") {
		t.Errorf("answered %d %s", status, body)
	}
	for _, line := range []string{"konto_ready 0\n", `konto_not_ready{reason="log"} 1` + "\n", "go_goroutines "} {
		if !strings.Contains(body, line) {
			t.Errorf("%q is not in %s", line, body)
		}
	}
}
