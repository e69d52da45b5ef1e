package sqlitefile

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestCopyContainsNoDeletedData(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "a?b.db"), filepath.Join(dir, "c'd.db") // names that mean something to SQL and to URIs
	writer, _ := openBoth(t, from, 1)
	if _, err := writer.Exec("INSERT INTO notes VALUES ('second'); DELETE FROM notes WHERE note = 'first'"); err != nil {
		t.Fatal(err)
	}
	if err := Copy(t.Context(), from, to); err != nil {
		t.Fatal(err)
	}
	copied, err := OpenReaders(to, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Close()
	var note string
	if err := copied.QueryRow("SELECT group_concat(note) FROM notes").Scan(&note); err != nil || note != "second" {
		t.Errorf("the copy has %q, %v", note, err)
	}
}

func TestCancelledCopyLeavesNoFile(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from.db"), filepath.Join(dir, "to.db")
	openBoth(t, from, 1)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Copy(ended, from, to); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := os.Stat(to); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file is there: %v", err)
	}
}
func TestTryLeavesNoFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "copy.db")
	if err := os.WriteFile(path, []byte("copy"), 0o600); err != nil {
		t.Fatal(err)
	}
	// A Try that was killed left a folder.
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
