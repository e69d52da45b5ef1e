package sqlite

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"konto/eventstore/sqlitefile"
)

// raw runs statements on a log file. The log should be closed, because a statement may wait for its
// lock.
func raw(t *testing.T, path string, statements ...string) error {
	t.Helper()
	db, err := sqlitefile.OpenWriter(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, statement := range statements {
		if _, err := db.Exec(statement); err != nil {
			return err
		}
	}
	return nil
}

// filled makes a closed log with records and returns its path.
func filled(t *testing.T, records int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log.db")
	log := open(t, path)
	for range records {
		mustAppend(t, log, newBatch(1))
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFilesThatAreNotALogAreRefused(t *testing.T) {
	tests := map[string]struct {
		prepare func(t *testing.T, path string)
		want    error  // or nil
		message string // a part of it
	}{
		"garbage": {func(t *testing.T, path string) {
			if err := os.WriteFile(path, bytes.Repeat([]byte("no database "), 1000), 0o600); err != nil {
				t.Fatal(err)
			}
		}, sqlitefile.ErrMalformed, "not a SQLite database"},
		"another database": {func(t *testing.T, path string) {
			if err := raw(t, path, "CREATE TABLE notes (note TEXT)"); err != nil {
				t.Fatal(err)
			}
		}, nil, "no log of konto"},
		"a newer log": {func(t *testing.T, path string) {
			open(t, path).Close()
			if err := raw(t, path, "UPDATE meta SET format = 3"); err != nil {
				t.Fatal(err)
			}
		}, nil, "format 3 is newer than 2"},
		"a missing folder": {func(t *testing.T, path string) {
			if err := os.Remove(filepath.Dir(path)); err != nil {
				t.Fatal(err)
			}
		}, fs.ErrNotExist, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "folder", "log.db")
			if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			test.prepare(t, path)
			_, err := Open(t.Context(), path)
			if err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Fatalf("open: %v, want %v", err, test.want)
			}
			message := err.Error()
			if !strings.Contains(message, test.message) || strings.Count(message, path) != 1 || strings.Contains(message, "\n") {
				t.Errorf("not one sentence that names the file once and says %q: %q", test.message, message)
			}
		})
	}
}

func TestLogWithDamagedPagesIsRefused(t *testing.T) {
	path := filled(t, 200)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096
	for at := 2 * page; at < len(content); at++ { // the schema is before
		content[at] = 0xff
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), path)
	if !errors.Is(err, sqlitefile.ErrMalformed) || !strings.Contains(err.Error(), path) {
		t.Errorf("open: %v", err)
	}
}

func TestEventsAreAppendOnly(t *testing.T) {
	path := filled(t, 2)
	log := open(t, path)
	before, err := log.ReadAll(t.Context(), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	log.Close()
	const copied = "SELECT %, stream, version, id, type, time, metadata, x'00', hash FROM events WHERE position = 1"
	for name, statement := range map[string]string{
		"update":                       "UPDATE events SET data = x'00' WHERE position = 1",
		"update of nothing new":        "UPDATE events SET position = position",
		"delete":                       "DELETE FROM events WHERE position = 2",
		"delete all":                   "DELETE FROM events",
		"replace of a position":        "REPLACE INTO events " + strings.Replace(copied, "%", "1", 1),
		"replace of a version":         "REPLACE INTO events " + strings.Replace(copied, "%", "3", 1),
		"upsert":                       "INSERT INTO events " + strings.Replace(copied, "%", "1", 1) + " ON CONFLICT DO UPDATE SET data = x'00'",
		"update or replace of version": "UPDATE OR REPLACE events SET stream = (SELECT stream FROM events WHERE position = 1)",
	} {
		if err := raw(t, path, statement); err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("%s: %v", name, err)
		}
	}
	after, err := open(t, path).ReadAll(t.Context(), 0, 10)
	if err != nil || len(after) != len(before) || !bytes.Equal(after[0].Data, before[0].Data) {
		t.Errorf("the log was changed: %+v, %v", after, err)
	}
}
