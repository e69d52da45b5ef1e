package erasure

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/eventstore/keyring"
	"konto/eventstore/sqlitefile"
)

func newKeys(t *testing.T) *keyring.Keyring {
	t.Helper()
	keys, err := keyring.Open(t.Context(), filepath.Join(t.TempDir(), "keys.db"), make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keys.Close() })
	return keys
}

func rowsAt(t *testing.T, path string, keys *keyring.Keyring) *Rows {
	t.Helper()
	r, err := OpenRows(t.Context(), path, keys)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestRowsAreStoredUntilTheyAreDeleted(t *testing.T) {
	path, keys := filepath.Join(t.TempDir(), RowsName), newKeys(t)
	r := rowsAt(t, path, keys)
	account, other := ulid.Make(), ulid.Make()
	row := Row{At: now(), Names: []string{"anna@example.com", "01hxa3"}, PaywayID: "c0ffee"}
	for _, err := range []error{
		r.Put(t.Context(), account, Row{Names: []string{"old"}}), r.Put(t.Context(), account, row), r.Put(t.Context(), other, Row{}),
		r.Delete(t.Context(), other), r.Delete(t.Context(), other), r.Close(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	r = rowsAt(t, path, keys)
	if all, err := r.All(t.Context()); err != nil || !reflect.DeepEqual(all, map[ulid.ULID]Row{account: row}) {
		t.Errorf("%v, %v", all, err)
	}
	if id, ok, err := r.Notice(t.Context(), account); id != "c0ffee" || !ok || err != nil {
		t.Errorf("its Payway id: %q, %v, %v", id, ok, err)
	}
	if id, ok, err := r.Notice(t.Context(), other); id != "" || ok || err != nil {
		t.Errorf("a deleted one: %q, %v, %v", id, ok, err)
	}
}

// Rows are sealed, although not with the account's key, and their bytes are overwritten.
func TestRowsAreSealedAndOverwritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), RowsName)
	r, account := rowsAt(t, path, newKeys(t)), ulid.Make()
	sealed := func() (content []byte) {
		t.Helper()
		if err := r.db.QueryRow("SELECT content FROM erasure").Scan(&content); err != nil {
			t.Fatal(err)
		}
		return content
	}
	in := func(text []byte) bool {
		t.Helper()
		database, err := os.ReadFile(path)
		ahead, failed := os.ReadFile(path + "-wal")
		if err != nil || failed != nil {
			t.Fatal(err, failed)
		}
		return bytes.Contains(append(database, ahead...), text)
	}
	if err := r.Put(t.Context(), account, Row{Names: []string{"anna@example.com"}}); err != nil {
		t.Fatal(err)
	}
	first := sealed()
	if in([]byte("anna@")) || !in(first) {
		t.Error("the names are in clear, or not found at all")
	}
	if err := r.Put(t.Context(), account, Row{}); err != nil {
		t.Fatal(err)
	}
	second := sealed()
	if in(first) || !in(second) {
		t.Error("names that were replaced are still in the files")
	}
	if err := r.Delete(t.Context(), account); err != nil || in(second) {
		t.Errorf("a deleted row is still in the files, %v", err)
	}
}

// If konto is killed when a row is deleted and its bytes are not overwritten, the next start does that.
func TestDeletedRowIsOverwrittenAfterACrash(t *testing.T) {
	folder, keys := t.TempDir(), newKeys(t)
	r := rowsAt(t, filepath.Join(folder, RowsName), keys)
	if err := r.Put(t.Context(), ulid.Make(), Row{Names: []string{"anna@example.com"}}); err != nil {
		t.Fatal(err)
	}
	var sealed []byte
	if err := r.db.QueryRow("SELECT content FROM erasure").Scan(&sealed); err != nil {
		t.Fatal(err)
	}
	if _, err := r.db.Exec("DELETE FROM erasure"); err != nil {
		t.Fatal(err)
	}
	killed := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(killed, os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	in := func() (found bool) {
		t.Helper()
		for _, name := range []string{RowsName, RowsName + "-wal"} {
			text, err := os.ReadFile(filepath.Join(killed, name))
			if err != nil {
				t.Fatal(err)
			}
			found = found || bytes.Contains(text, sealed)
		}
		return found
	}
	if !in() {
		t.Fatal("the bytes are overwritten already")
	}
	rowsAt(t, filepath.Join(killed, RowsName), keys)
	if in() {
		t.Error("the bytes of the deleted row are still there")
	}
}

// A flipped bit must not erase another account.
func TestRowThatWasChangedDoesNotCount(t *testing.T) {
	path, keys := filepath.Join(t.TempDir(), RowsName), newKeys(t)
	r, account, other := rowsAt(t, path, keys), ulid.Make(), ulid.Make()
	if err := r.Put(t.Context(), account, Row{At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.db.Exec("UPDATE erasure SET account = ?", other[:]); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenRows(t.Context(), path, keys); !errors.Is(err, sqlitefile.ErrMalformed) {
		t.Errorf("opened: %v", err)
	}
}
