package deliveries

import (
	"bytes"
	"os"
	"reflect"
	"testing"

	"github.com/oklog/ulid/v2"
)

func TestNamesAreKeptUntilTheyAreDropped(t *testing.T) {
	b := newBook(t)
	account, other := ulid.Make(), ulid.Make()
	b.must(b.KeepNames(t.Context(), account, []string{"old"}))
	b.must(b.KeepNames(t.Context(), account, []string{"anna@example.com", "01hxa3"}))
	b.must(b.KeepNames(t.Context(), other, []string{"bo@example.com"}))
	b.reopen()
	b.must(b.DropNames(t.Context(), other))
	b.must(b.DropNames(t.Context(), other))
	got, err := b.Names(t.Context())
	b.must(err)
	if want := map[ulid.ULID][]string{account: {"anna@example.com", "01hxa3"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// They are the erased account's: not in clear, and not left behind when they are dropped.
func TestNamesAreSealedAndOverwritten(t *testing.T) {
	b := newBook(t)
	account := ulid.Make()
	b.must(b.KeepNames(t.Context(), account, []string{"anna@example.com"}))
	var sealed []byte
	b.must(b.readers.QueryRow("SELECT content FROM called").Scan(&sealed))
	in := func(text []byte) bool {
		database, err := os.ReadFile(b.config.Path)
		b.must(err)
		ahead, err := os.ReadFile(b.config.Path + "-wal")
		b.must(err)
		return bytes.Contains(append(database, ahead...), text)
	}
	if in([]byte("anna@")) || !in(sealed) {
		t.Error("the names are in clear, or not found at all")
	}
	b.must(b.DropNames(t.Context(), account))
	if in(sealed) {
		t.Error("dropped names are still in the files")
	}
}
