//go:build servers

package main

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"konto/eventstore/postgres/postgrestest"
)

// replicated starts a primary with a synchronous standby, and returns its URL.
func replicated(t testing.TB) string {
	t.Helper()
	primary := postgrestest.Primary(t)
	primary.Standby(t, "standby")
	return primary.URL()
}

// What one node acknowledges, every node shows: an update, a revoked key, an erasure.
func TestNodesShowWhatOthersAcknowledged(t *testing.T) {
	n := newNodes(t, replicated(t))
	a, b, c := n.start(t, "a"), n.start(t, "b"), n.start(t, "c")
	opened := n.must(t, "account", "open", "--email", "anna@example.com", "--first-name", "Anna", "--last-name", "A")
	key := n.must(t, "key", "issue", "--account", "anna@example.com", "--scope", "read:account", "--scope", "write:account")
	token := key["token"].(string)
	for i, from := range []*node{a, b, c, a, b, c} {
		name := strings.Repeat("x", i+1)
		if status, body := send(t, "PATCH", from.url+"/api/v2/me", token, `{"firstName":"`+name+`"}`); status != http.StatusOK {
			t.Fatalf("node %s answered %d %s", from.name, status, body)
		}
		for _, other := range []*node{a, b, c} {
			if status, body := send(t, "GET", other.url+"/api/v2/me", token, ""); status != http.StatusOK || !strings.Contains(body, `"`+name+` A"`) && !strings.Contains(body, `"`+name+`"`) {
				t.Errorf("node %s answered %d %s after %s had changed the name to %s", other.name, status, body, from.name, name)
			}
		}
	}
	must(t, "key", "revoke", key["id"].(string), "--data", n.folder)
	for _, each := range []*node{a, b, c} {
		if status, _ := send(t, "GET", each.url+"/api/v2/me", token, ""); status != http.StatusUnauthorized {
			t.Errorf("node %s answered %d to a revoked key", each.name, status)
		}
	}
	if listed := mustLines(t, "nodes", "--data", n.folder); len(listed) != 3 {
		t.Errorf("konto nodes lists %v", listed)
	}
	proof := n.must(t, "account", "erase", opened["id"].(string), "--yes")
	t.Log(proof)
	for _, each := range []*node{a, b, c} {
		each.stop(t)
	}
	if listed := strings.TrimSpace(must(t, "nodes", "--data", n.folder)); listed != "" {
		t.Errorf("konto nodes lists %s after all have stopped", listed)
	}
}

// A node that cannot acknowledge says so to the proxy, and to who reads its metrics.
func TestNodeIsNotReadyWithoutAStandby(t *testing.T) {
	primary := postgrestest.Primary(t)
	standby, _ := primary.Standby(t, "standby")
	n := newNodes(t, primary.URL()).start(t, "a", "--metrics", "127.0.0.1:0")
	page := n.stderr.find(t, regexp.MustCompile(`metrics are at (http://\S+/metrics)`))[1]
	if status, body := send(t, "GET", n.url+"/readyz", "", ""); status != http.StatusOK {
		t.Errorf("answered %d %s", status, body)
	}
	standby.Kill(t)
	if status, body := send(t, "GET", n.url+"/readyz", "", ""); status != http.StatusServiceUnavailable || !strings.Contains(body, "\nNo synchronous standby of Postgres confirms what is appended: ") {
		t.Errorf("without a standby: %d %s", status, body)
	}
	for _, line := range []string{`konto_not_ready{reason="replication"} 1`, "konto_ready 0", "konto_log_sync_duration_seconds_count "} {
		if text := scrape(t, page); !strings.Contains(text, line) {
			t.Errorf("%s is not in %s", line, text)
		}
	}
	standby.Start(t)
	for deadline := time.Now().Add(patience); ; { // only Postgres knows when the standby is back
		status, body := send(t, "GET", n.url+"/readyz", "", "")
		if status == http.StatusOK {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("with a standby again: %d %s", status, body)
		}
	}
}
