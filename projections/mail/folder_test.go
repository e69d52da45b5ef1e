package mail

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/oklog/ulid/v2"
)

func TestMailsOfAnErasedAccountAreDeleted(t *testing.T) {
	dir := t.TempDir()
	gone, kept := ulid.Make(), ulid.Make()
	for _, event := range []ulid.ULID{gone, kept} {
		if err := os.WriteFile(mailPath(dir, event), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := Delete(dir, ulid.Make(), gone); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 || left[0].Name() != kept.String()+".eml" {
		t.Errorf("left are %v, %v", left, err)
	}
	if err := Delete(filepath.Join(dir, "none"), gone); err != nil {
		t.Errorf("without a folder: %v", err)
	}
}

// No erasure finds a mail that was never finished.
func TestUnfinishedMailsAreDeletedAtTheStart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "[a-c]") // a name, and no pattern
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	whole := mailPath(dir, ulid.Make())
	for _, name := range []string{whole, filepath.Join(dir, unfinished+"123")} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := newFolder(dir); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 || left[0].Name() != filepath.Base(whole) {
		t.Errorf("left are %v, %v", left, err)
	}
}
