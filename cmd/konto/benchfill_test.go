package main

import (
	"testing"
)

// What is filled in bulk is a log like any other, and the publisher begins behind it.
func TestFillingMakesASoundLog(t *testing.T) {
	folder := t.TempDir()
	f, err := newFilling(t.Context(), folder, func(uint64, uint64, string) {})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.openAccounts(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
	serveOnce := func() {
		server, _, _ := serve(t, folder)
		if status := server.stop(); status != exitDone {
			t.Fatalf("exit %d", status)
		}
	}
	serveOnce()
	if err := f.growTo(t.Context(), folder, size{events: 60, accounts: 7}); err != nil {
		t.Fatal(err)
	}
	serveOnce()
	report := mustJSON(t, "verify", "--data", folder)
	if report["position"] != 60.0 {
		t.Errorf("%v", report)
	}
	if accounts := mustLines(t, "account", "list", "--data", folder); len(accounts) != 7 {
		t.Errorf("%d accounts", len(accounts))
	}
	if err := f.open(t.Context(), folder); err != nil {
		t.Fatal(err)
	}
	defer f.close()
	if published := streamIDs(t, f.house); len(published) != 1 {
		t.Errorf("%d events were published instead of the first account's opening", len(published))
	}
}
