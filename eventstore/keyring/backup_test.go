package keyring

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// kept returns a keyring whose master key is in a file.
func kept(t *testing.T) (*filled, Master) {
	t.Helper()
	m := Master{Path: filepath.Join(t.TempDir(), "master.key")}
	if _, err := m.Load(true); err != nil {
		t.Fatal(err)
	}
	return fill(t, func(path string) *Keyring { return mustOpen(t, m, path) }), m
}

func TestBackupHasEveryKeyAndTombstone(t *testing.T) {
	f, m := kept(t)
	dir := t.TempDir()
	backup := filepath.Join(dir, "backup.db")
	if err := m.Backup(t.Context(), f.k, backup); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(backup); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("more than the backup was left: %v, %v", entries, err)
	}
	f.expectIntact(t, mustOpen(t, m, backup))
}

func TestBackupThatDoesNotOpenIsNotKept(t *testing.T) {
	f, m := kept(t)
	backup := filepath.Join(t.TempDir(), "backup.db")
	check := func(name string, want error) {
		t.Helper()
		if err := m.Backup(t.Context(), f.k, backup); !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(backup); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: a backup is there", name)
		}
	}
	if _, err := f.k.writer.Exec("UPDATE keys SET wrapped = zeroblob(length(wrapped)) WHERE stream = ?", f.dead); err != nil {
		t.Fatal(err)
	}
	check("one key is damaged", ErrDamagedKey)
	if err := os.Remove(m.Path); err != nil {
		t.Fatal(err)
	}
	check("the master key is gone", ErrNoMaster)
}

func TestBackupAfterARotationOpensWithTheNextKey(t *testing.T) {
	f, m := kept(t)
	backup := filepath.Join(t.TempDir(), "backup.db")
	// The rotation was interrupted between its commit and the rename.
	for _, step := range m.steps(t.Context(), f.k)[:2] {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	before := readFile(t, m.Path)
	if err := m.Backup(t.Context(), f.k, backup); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(readFile(t, m.Path), before) {
		t.Error("the backup moved the master key")
	}
	f.expectIntact(t, mustOpen(t, m, backup))
}
