package main

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"konto/cmd/konto/datafolder"
	"konto/cmd/konto/erasure"
)

func TestKeysBackupDeletesItsOlderCopies(t *testing.T) {
	folder, dir := furnished(t), t.TempDir()
	h := openFolder(t, folder)
	logID, err := h.Log.ID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id := hex.EncodeToString(logID[:4])
	h.Close()
	stamp := func(days int) string {
		return time.Now().Add(-time.Duration(days) * 24 * time.Hour).UTC().Format(datafolder.StampLayout)
	}
	young := "keys-" + id + "-" + stamp(29) + ".db"
	old, oldList := "keys-"+id+"-"+stamp(31)+".db", "erasures-"+id+"-"+stamp(31)+".ndjson"
	others := []string{
		"keys-notes.db", "keys.db", "keys-" + id + "-20200101T000000.000Z.txt", "backup-" + id + "-20200101T000000.000Z.db",
		"keys-0badc0de-" + stamp(31) + ".db", "erasures-0badc0de-" + stamp(31) + ".ndjson", "keys-" + stamp(31) + ".db", // of another log, and of who knows which
	}
	cutOff := old + ".partial" // holds keys as well
	for _, name := range append(others, young, old, oldList, cutOff) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// So do folders in which a copy was tried when konto was killed.
	triedOfOther := ".konto-restored-keys-0badc0de-" + stamp(31) + ".db.partial"
	for _, name := range []string{".konto-restored-" + cutOff, triedOfOther} {
		if err := os.MkdirAll(filepath.Join(dir, name, "keys.db"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	others = append(others, triedOfOther)
	if err := os.WriteFile(filepath.Join(folder, erasure.LedgerName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	made := mustJSON(t, "keys", "backup", dir, "--data", folder)
	file, list := made["file"].(string), made["erasures"].(string)
	deleted, _ := made["deleted"].([]any)
	if len(deleted) != 4 || made["verified"] != true {
		t.Errorf("%v", made)
	}
	onlyFile(t, dir, append(others, young, filepath.Base(file), filepath.Base(list))...)

	// However short they are kept, the newest stays.
	for range 2 {
		made = mustJSON(t, "keys", "backup", dir, "--keep-for", "1ns", "--data", folder)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "keys-"+id+"-*Z.db")); err != nil || len(left) != 1 || left[0] != made["file"] {
		t.Errorf("%v is left of %v, %v", left, made["file"], err)
	}

	// The copy takes the place of a lost keys.db.
	for _, name := range []string{"keys.db", "keys.db-wal", "keys.db-shm"} {
		os.Remove(filepath.Join(folder, name))
	}
	if err := os.Rename(made["file"].(string), filepath.Join(folder, "keys.db")); err != nil {
		t.Fatal(err)
	}
	if shown := must(t, "account", "show", "anna@example.com", "--data", folder); !strings.Contains(shown, "anna@example.com") {
		t.Error(shown)
	}
}

func TestKeysBackupNeedsTheMasterKey(t *testing.T) {
	folder, dir := furnished(t), t.TempDir()
	serve(t, folder)
	if err := os.Rename(filepath.Join(folder, "master.key"), filepath.Join(dir, "elsewhere")); err != nil {
		t.Fatal(err)
	}
	refused(t, exitFailed, konto(t, "keys", "backup", dir, "--data", folder), "no backup of the keys was made", "master key is missing")
	onlyFile(t, dir, "elsewhere")
	refused(t, exitUsage, konto(t, "keys", "backup", dir, "--keep-for", "0s", "--data", folder), "--keep-for")
}
