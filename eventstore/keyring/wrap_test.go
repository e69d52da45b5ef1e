package keyring

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
)

// Stored rows name their master key by its id, so the id of a key never changes.
func TestMasterIDsNeverChange(t *testing.T) {
	w, err := NewWrapper(master)
	if err != nil {
		t.Fatal(err)
	}
	if id := w.ID(); hex.EncodeToString(id[:]) != "b912f36f5d0e15e4" {
		t.Errorf("%x", id)
	}
}

func TestWrappersOfThePresentAndTheNextMasterKey(t *testing.T) {
	first, next := hex.EncodeToString(master), hex.EncodeToString(nextMaster)
	dir := t.TempDir()
	for name, key := range map[string]string{"alone": first, "both": first, "both.next": next} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(key), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a, _ := NewWrapper(master)
	b, _ := NewWrapper(nextMaster)
	for name, test := range map[string]struct {
		m        Master
		withNext bool
	}{
		"given":           {Master{Given: first}, false},
		"given with next": {Master{Given: first, Next: next}, true},
		"file":            {Master{Path: filepath.Join(dir, "alone")}, false},
		"file with next":  {Master{Path: filepath.Join(dir, "both")}, true},
	} {
		present, staged, err := test.m.Wrappers()
		if err != nil || present.ID() != a.ID() {
			t.Fatalf("%s: %v, %v", name, present, err)
		}
		if (staged != nil) != test.withNext || staged != nil && staged.ID() != b.ID() {
			t.Errorf("%s: another next master key", name)
		}
	}
	for name, m := range map[string]Master{
		"no file": {Path: filepath.Join(dir, "none")}, "a malformed next one": {Given: first, Next: "no key"},
	} {
		if _, _, err := m.Wrappers(); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 3 {
		t.Error("a file was made")
	}
}
