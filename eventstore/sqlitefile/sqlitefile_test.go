package sqlitefile

import (
	"bytes"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// settings reads pragmas on n connections that are open at the same time.
func settings(t *testing.T, db *sql.DB, n int, pragma string) (values []string) {
	t.Helper()
	for range n {
		conn, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		var value string
		if err := conn.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&value); err != nil {
			t.Fatal(err)
		}
		values = append(values, value)
	}
	return values
}

func openBoth(t *testing.T, path string, n int) (writer, readers *sql.DB) {
	t.Helper()
	writer, err := OpenWriter(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { writer.Close() })
	if _, err := writer.Exec("CREATE TABLE notes (note TEXT); INSERT INTO notes VALUES ('first')"); err != nil {
		t.Fatal(err)
	}
	if readers, err = OpenReaders(path, n); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { readers.Close() })
	return writer, readers
}

func TestPragmasApplyToEveryConnection(t *testing.T) {
	const n = 4
	writer, readers := openBoth(t, filepath.Join(t.TempDir(), "test.db"), n)
	copies, err := OpenCopyWriter(filepath.Join(t.TempDir(), "copy.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { copies.Close() })
	const full, normal, on = "2", "1", "1" // as PRAGMA answers
	tests := map[string]struct {
		db     *sql.DB
		n      int
		pragma string
		want   string
	}{
		"writer syncs":              {writer, 1, "synchronous", full},
		"writer uses the WAL":       {writer, 1, "journal_mode", "wal"},
		"writer overwrites":         {writer, 1, "secure_delete", on},
		"writer checkpoints seldom": {writer, 1, "wal_autocheckpoint", "20000"},
		"copies sync checkpoints":   {copies, 1, "synchronous", normal},
		"copies use the WAL":        {copies, 1, "journal_mode", "wal"},
		"copies overwrite":          {copies, 1, "secure_delete", on},
		"readers sync":              {readers, n, "synchronous", full},
		"readers use the WAL":       {readers, n, "journal_mode", "wal"},
		"readers only query":        {readers, n, "query_only", on},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			check := func() {
				t.Helper()
				for i, got := range settings(t, test.db, test.n, test.pragma) {
					if got != test.want {
						t.Errorf("%s is %s on connection %d, not %s", test.pragma, got, i, test.want)
					}
				}
			}
			check()
			// Idle connections are dropped, so the pool must make new ones.
			test.db.SetMaxIdleConns(-1)
			check()
			test.db.SetMaxIdleConns(test.n)
		})
	}
	if open := writer.Stats().MaxOpenConnections; open != 1 {
		t.Errorf("the writer may open %d connections", open)
	}
}

func TestReadersCannotWrite(t *testing.T) {
	_, readers := openBoth(t, filepath.Join(t.TempDir(), "test.db"), 1)
	for _, statement := range []string{
		"INSERT INTO notes VALUES ('second')",
		"PRAGMA query_only = OFF; INSERT INTO notes VALUES ('second')",
		"CREATE TABLE more (x)",
	} {
		if _, err := readers.Exec(statement); err == nil {
			t.Errorf("a reader ran %s", statement)
		}
	}
}

func TestReadersSeeWhatIsCommitted(t *testing.T) {
	writer, readers := openBoth(t, filepath.Join(t.TempDir(), "test.db"), 2)
	if _, err := writer.Exec("INSERT INTO notes VALUES ('second')"); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := readers.QueryRow("SELECT count(*) FROM notes").Scan(&n); err != nil || n != 2 {
		t.Errorf("a reader sees %d notes, %v", n, err)
	}
}

func TestPathsWithSpecialCharacters(t *testing.T) {
	for _, name := range []string{"plain.db", "a b.db", "100%.db", "a%20b.db", "what?.db", "a?mode=memory", "no#1.db", "a+b&c=d.db", "åäö.db", "'quoted'.db"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, name)
			openBoth(t, path, 1)
			files, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range files {
				if !strings.HasPrefix(file.Name(), name) {
					t.Errorf("made a file %q", file.Name())
				}
			}
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("the file is %v, %v", info, err)
			}
		})
	}
	t.Run("relative", func(t *testing.T) {
		t.Chdir(t.TempDir())
		openBoth(t, "relative?.db", 1)
		if _, err := os.Stat("relative?.db"); err != nil {
			t.Error(err)
		}
	})
}

func TestFilesThatCannotBeOpened(t *testing.T) {
	garbage := bytes.Repeat([]byte("no database "), 1000)
	tests := map[string]struct {
		prepare func(t *testing.T, path string)
		open    func(path string) (*sql.DB, error)
		want    error
	}{
		"garbage, to write": {write(garbage), OpenWriter, ErrMalformed},
		"garbage, to read":  {write(garbage), readers, ErrMalformed},
		"missing, to read":  {func(*testing.T, string) {}, readers, fs.ErrNotExist},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "test.db")
			test.prepare(t, path)
			before, _ := os.ReadFile(path)
			_, err := test.open(path)
			if !errors.Is(err, test.want) {
				t.Fatalf("%v, want %v", err, test.want)
			}
			if message := err.Error(); strings.Count(message, path) != 1 || strings.Contains(message, "\n") {
				t.Errorf("not one line that names the file once: %q", message)
			}
			if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
				t.Error("the file was changed")
			}
		})
	}
	t.Run("in a missing folder", func(t *testing.T) {
		if _, err := OpenWriter(filepath.Join(t.TempDir(), "none", "test.db")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v, want that it does not exist", err)
		}
	})
}

func write(content []byte) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func readers(path string) (*sql.DB, error) { return OpenReaders(path, 2) }

func TestSQLiteVersionsThatCorruptFilesAreRefused(t *testing.T) {
	for name, number := range map[string]int{"3.7.0": 3007000, "3.46.1": 3046001, "3.51.2": 3051002} {
		if err := checkVersion(name, number); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("SQLite %s: %v", name, err)
		}
	}
	for name, number := range map[string]int{"3.51.3": 3051003, "3.54.1": 3054001} {
		if err := checkVersion(name, number); err != nil {
			t.Errorf("SQLite %s: %v", name, err)
		}
	}
	if err := CheckVersion(); err != nil {
		t.Errorf("the SQLite built in: %v", err)
	}
}

func TestLinksAreNotFollowed(t *testing.T) {
	for name, target := range map[string]string{"to a file": "real.db", "to nothing": "none.db"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			openBoth(t, filepath.Join(dir, "real.db"), 1)
			link := filepath.Join(dir, "link.db")
			if err := os.Symlink(filepath.Join(dir, target), link); err != nil {
				t.Fatal(err)
			}
			for what, open := range map[string]func() error{
				"OpenWriter":       func() error { _, err := OpenWriter(link); return err },
				"OpenReaders":      func() error { _, err := OpenReaders(link, 1); return err },
				"OpenCheckpointer": func() error { _, err := OpenCheckpointer(link); return err },
				"Stamp":            func() error { return Stamp(link) },
				"Tie":              func() error { return Tie(link) },
				"ReadFile":         func() error { _, err := ReadFile(link); return err },
			} {
				if err := open(); !errors.Is(err, syscall.ELOOP) {
					t.Errorf("%s: %v", what, err)
				}
			}
			if _, err := os.Stat(filepath.Join(dir, "none.db")); err == nil {
				t.Error("what the link leads to was made")
			}
		})
	}
}
