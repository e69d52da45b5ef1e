package main

import (
	"testing"
	"time"
)

func TestRetentionIsChangedAtTheNextStart(t *testing.T) {
	folder := t.TempDir()
	server, url, _ := serve(t, folder)
	anna := newTenant(t, folder, "anna@example.com")
	rename(t, url, anna, "Anna")
	token := mustJSON(t, "key", "issue", "--data", folder, "--consumer", "billing")["token"].(string)
	server.stop()
	_, _, nats := serve(t, folder, "--retention", "48h")
	stream, err := jetStream(t, nats, token).Stream(t.Context(), "KONTO")
	if err != nil {
		t.Fatal(err)
	}
	if info := stream.CachedInfo(); info.Config.MaxAge != 48*time.Hour || info.State.Msgs != 2 {
		t.Errorf("keeps %d messages for %s", info.State.Msgs, info.Config.MaxAge)
	}
	must(t, "account", "erase", anna.id, "--yes", "--data", folder)
	info, err := stream.Info(t.Context())
	for deadline := time.Now().Add(patience); err == nil && info.State.Msgs != 1 && time.Now().Before(deadline); {
		info, err = stream.Info(t.Context()) // the publisher removes them when it has published the erasure
	}
	if err != nil || info.State.Msgs != 1 {
		t.Errorf("%+v, %v", info.State, err)
	}
}
