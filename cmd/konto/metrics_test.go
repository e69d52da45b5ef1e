package main

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestMetricsHaveAnAddressOfTheirOwn(t *testing.T) {
	folder := t.TempDir()
	must(t, "third-party", "add", "crm", "--url", "https://crm.example.com/", "--data", folder)
	server, url, _ := serve(t, folder, "--metrics", "127.0.0.1:0")
	page := server.stderr.find(t, regexp.MustCompile(`metrics are at (http://\S+/metrics)`))[1]
	// At first the third party is not loaded yet.
	deadline := time.Now().Add(patience)
	for !strings.Contains(scrape(t, page), `konto_third_party_state{state="active",third_party="crm"} 1`) {
		if time.Now().After(deadline) {
			t.Fatal("the third party never comes")
		}
	}
	text := scrape(t, page)
	for _, name := range []string{"konto_log_head ", `konto_follower_position{follower="deliveries"}`, `konto_third_party_lag_events{third_party="crm"}`, "go_goroutines "} {
		if !strings.Contains(text, name) {
			t.Errorf("%s is not in %s", name, text)
		}
	}
	if answer, err := http.Get(url + "/metrics"); err != nil || answer.StatusCode != http.StatusNotFound {
		t.Errorf("the contracts' address answers %v, %v", answer, err)
	}
	if status := server.stop(); status != exitDone {
		t.Errorf("ended with %d: %s", status, server.stderr)
	}
}

func scrape(t *testing.T, url string) string {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("answered %d, %v", answer.StatusCode, err)
	}
	return string(text)
}
