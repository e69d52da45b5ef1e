//go:build long

package main

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"konto/cmd/konto/datafolder"
	"konto/events"
)

// An event that this version cannot read stops the read model after its
// retries. The server continues without it, and health reports the failure.
func TestServerContinuesAfterAPoisonEvent(t *testing.T) {
	folder := t.TempDir()
	anna := newTenant(t, folder, "anna@example.com")
	addPoison(t, folder)
	server, url, _ := serve(t, folder)
	server.stderr.find(t, regexp.MustCompile(`follower stopped.*follower=read-model`))
	if status, body := send(t, "GET", url+"/healthz", "", ""); status != 503 || !strings.Contains(body, events.ErrUnknownType.Error()) {
		t.Errorf("health is %d %s", status, body)
	}
	rename(t, url, anna, "Anna")
	if status, body := send(t, "GET", url+"/api/v2/me", anna.token, ""); status != 200 || !strings.Contains(body, `"firstName":"Anna"`) {
		t.Errorf("answered %d %s", status, body)
	}
	if status := server.stop(); status != exitDone {
		t.Errorf("ended with %d: %s", status, server.stderr)
	}
}

// addPoison appends an event as a newer konto might.
func addPoison(t *testing.T, folder string) {
	t.Helper()
	h, err := datafolder.Open(t.Context(), datafolder.Config{Path: folder, Holder: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	id, err := datafolder.NewID()
	if err != nil {
		t.Fatal(err)
	}
	stream := events.AccountStream(id)
	if _, err := h.Store.Append(t.Context(), stream, 0, nil, []events.Event{{
		ID: id, Stream: stream, Version: 1, Type: "AccountPainted.v1",
		Time: time.Now().UTC().Truncate(time.Millisecond), Data: []byte(`{"colour":"red"}`),
	}}); err != nil {
		t.Fatal(err)
	}
}
