package sqlitefile

import (
	"os"
	"path/filepath"
	"testing"
)

func TestTryLeavesNothingBeside(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "copy.db")
	if err := os.WriteFile(path, []byte("copy"), 0o600); err != nil {
		t.Fatal(err)
	}
	// One that was killed left a folder with what it had.
	if err := os.MkdirAll(filepath.Join(dir, TriedPrefix+"copy.db", "restored.db"), 0o700); err != nil {
		t.Fatal(err)
	}
	err := Try(t.Context(), path, func(restored string) error {
		if text, err := os.ReadFile(restored); err != nil || string(text) != "copy" {
			t.Errorf("%q, %v", text, err)
		}
		return os.WriteFile(restored, []byte("changed"), 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "copy" {
		t.Errorf("the copy is %q, %v", text, err)
	}
}
