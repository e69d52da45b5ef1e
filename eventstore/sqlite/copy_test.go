package sqlite

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestInspectRefusesDamagedLogs(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log.db")
	log := open(t, path)
	for range 30 {
		mustAppend(t, log, newBatch(30))
	}
	log.Close()
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(good, []byte("data of account-")) + 5
	flipped := bytes.Clone(good)
	flipped[at] ^= 1
	for name, content := range map[string][]byte{
		"empty":         {},
		"garbage":       bytes.Repeat([]byte("no log "), 2000),
		"half of it":    good[:len(good)/2/4096*4096],
		"a flipped bit": flipped,
	} {
		path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if extent, err := Inspect(t.Context(), path, nil); err == nil {
			t.Errorf("%s is good to position %d", name, extent.Position)
		}
	}
	if _, err := Inspect(t.Context(), filepath.Join(dir, "none"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if extent, err := Inspect(t.Context(), path, nil); err != nil || extent.Position != 900 {
		t.Errorf("the good one: position %d, %v", extent.Position, err)
	}
}
