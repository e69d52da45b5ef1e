package sqlitefile

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// crashed returns a tied file whose writer crashed and left a write-ahead log, and the content of
// the file before that writer opened it.
func crashed(t *testing.T) (path string, before []byte) {
	t.Helper()
	live := filepath.Join(t.TempDir(), "keys.db")
	if err := Tie(live); err != nil {
		t.Fatal(err)
	}
	change := func(statement string) (closed func() error) {
		db, err := OpenWriter(live)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
		return db.Close
	}
	if err := change("CREATE TABLE t (a)")(); err != nil {
		t.Fatal(err)
	}
	before = content(t, live)
	if err := Tie(live); err != nil {
		t.Fatal(err)
	}
	closed := change("INSERT INTO t VALUES (1)")
	path = filepath.Join(t.TempDir(), "keys.db")
	for _, suffix := range []string{"", "-wal", StampSuffix} {
		put(t, path+suffix, content(t, live+suffix))
	}
	if err := closed(); err != nil {
		t.Fatal(err)
	}
	return path, before
}

func content(t *testing.T, path string) []byte {
	t.Helper()
	all, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func put(t *testing.T, path string, all []byte) {
	t.Helper()
	if err := os.WriteFile(path, all, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTieRefusesTheWriteAheadLogOfAnotherFile(t *testing.T) {
	path, before := crashed(t)
	own := content(t, path)
	for range 2 { // as often as there is a crash before the log was moved
		if err := Tie(path); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(content(t, path), own) {
		t.Error("the file was changed beside its write-ahead log")
	}
	if err := Stamp(path); err != nil { // as a copy that konto made
		t.Fatal(err)
	}
	for name, foreign := range map[string][]byte{"a copy": content(t, path), "the file as it was": before, "an empty file": nil} {
		put(t, path, foreign)
		if err := Tie(path); !errors.Is(err, ErrForeignWAL) {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.Equal(content(t, path), foreign) {
			t.Errorf("%s was changed", name)
		}
	}
	// A new file has a journal instead of a write-ahead log.
	if err := os.Rename(path+"-wal", path+"-journal"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := Tie(path); !errors.Is(err, ErrForeignWAL) {
		t.Errorf("no file: %v", err)
	}
}

// Without a write-ahead log SQLite has nothing to apply.
func TestTieAcceptsAnyFileWithoutAWriteAheadLog(t *testing.T) {
	path, before := crashed(t)
	if err := os.Remove(path + "-wal"); err != nil {
		t.Fatal(err)
	}
	for _, other := range [][]byte{before, nil, []byte("no database")} {
		put(t, path, other)
		if err := Tie(path); err != nil {
			t.Error(err)
		}
	}
	if got := content(t, path); string(got) != "no database" {
		t.Errorf("it is %q now", got)
	}
}

// An earlier konto did not tie its files.
func TestTieAcceptsAFileThatWasNeverTied(t *testing.T) {
	path, _ := crashed(t)
	if err := os.Remove(path + StampSuffix); err != nil {
		t.Fatal(err)
	}
	if err := Tie(path); err != nil {
		t.Error(err)
	}
}
