package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"konto/eventstore/sqlitefile"
)

// deliveries.db holds nothing of the write side, so konto starts without it.
func TestDamagedDeliveryStoreIsRenamed(t *testing.T) {
	const damage = "this is no database. "
	path := ""
	ruin := func() string {
		folder := furnished(t)
		path = filepath.Join(folder, "deliveries.db")
		for _, part := range []string{"", "-wal"} {
			if err := os.WriteFile(path+part, []byte(strings.Repeat(damage, 1000)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return folder
	}
	check := func(said string) {
		t.Helper()
		kept, err := filepath.Glob(path + ".damaged-*Z")
		if err != nil || len(kept) != 1 {
			t.Fatalf("kept are %v, %v", kept, err)
		}
		if content, err := os.ReadFile(kept[0]); err != nil || !strings.HasPrefix(string(content), damage) {
			t.Errorf("%s was changed, %v", kept[0], err)
		}
		if !strings.Contains(said, path+" is damaged and was renamed to "+filepath.Base(kept[0])) {
			t.Errorf("said %q", said)
		}
	}
	folder := ruin()
	r := konto(t, "account", "show", "anna@example.com", "--data", folder)
	if r.status != exitDone {
		t.Errorf("ended with %d", r.status)
	}
	check(r.stderr)
	must(t, "third-party", "deliveries", "--data", folder)
	server, _, _ := serve(t, ruin())
	check(server.stderr.String())

	// Another program's file is left alone.
	other, err := sqlitefile.OpenWriter(path + ".other")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Exec("PRAGMA application_id = 7; CREATE TABLE x (y)"); err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	server.stop()
	if err := os.Rename(path+".other", path); err != nil {
		t.Fatal(err)
	}
	refused(t, exitFailed, konto(t, "account", "list", "--data", filepath.Dir(path)), "another program's file")
}
