package keyring

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"konto/eventstore/sqlitefile"
)

// SQLite would apply the write-ahead log that a crash left to the copy, and so damage it.
func TestCopiesBesideTheLostFilesWriteAheadLogAreRefused(t *testing.T) {
	f, m := kept(t)
	backup := filepath.Join(t.TempDir(), "backup.db")
	if err := m.Backup(t.Context(), f.k, backup); err != nil {
		t.Fatal(err)
	}
	create(t, f.k, stream())
	path := filepath.Join(t.TempDir(), "keys.db") // as a crash leaves it
	for _, suffix := range []string{"", "-wal", sqlitefile.StampSuffix} {
		if err := os.WriteFile(path+suffix, readFile(t, f.k.path+suffix), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	copied := readFile(t, backup)
	crashed := readFile(t, path)
	if err := os.WriteFile(path, copied, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Open(t.Context(), path); !errors.Is(err, sqlitefile.ErrForeignWAL) {
		t.Errorf("the copy: %v", err)
	}
	if string(readFile(t, path)) != string(copied) {
		t.Error("the copy was changed")
	}
	if err := os.WriteFile(path, crashed, 0o600); err != nil {
		t.Fatal(err)
	}
	f.expectIntact(t, mustOpen(t, m, path))
}

func TestOpenCopyCreatesNoFiles(t *testing.T) {
	_, m := kept(t)
	path := filepath.Join(t.TempDir(), "keys.db")
	if _, err := m.OpenCopy(t.Context(), path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := m.OpenCopy(t.Context(), path); !errors.Is(err, sqlitefile.ErrMalformed) {
		t.Errorf("an empty file: %v", err)
	}
	if len(readFile(t, path)) > 0 {
		t.Error("a keyring was made")
	}
}
