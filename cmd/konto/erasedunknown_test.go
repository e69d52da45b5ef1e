package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/datafolder"
	"konto/cmd/konto/erasure"
	"konto/commands"
	"konto/events"
	"konto/eventstore"
)

// An older log was restored, and the newer one set aside: there, or in a backup of
// it, the account is still to be read, with a key that only the keyring knows of.
func TestAccountThatOnlyTheKeyringKnowsIsErased(t *testing.T) {
	folder, backup := backedUpFolder(t)
	id := mustJSON(t, "account", "open", "--data", folder, "--email", "later@example.com")["id"].(string)
	must(t, "restore", backup, "--yes", "--data", folder)
	refused(t, exitFailed, konto(t, "account", "erase", "later@example.com", "--yes", "--data", folder), "there is no account")
	proof := mustJSON(t, "account", "erase", commands.ClientPrefix+id, "--yes", "--data", folder)["proof"].(string)
	if again := mustJSON(t, "account", "erase", id, "--yes", "--data", folder)["proof"]; again != proof {
		t.Errorf("erased again, it has the proof %v", again)
	}
	verifies(t, folder)
	l := &leaving{t: t, folder: folder}
	h := l.open()
	defer h.Close()
	account := ulid.MustParse(id)
	if _, err := h.Keys.Cipher(t.Context(), events.AccountStream(account)); !errors.Is(err, eventstore.ErrDestroyed) {
		t.Errorf("its key: %v", err)
	}
	if done, err := h.Erasures.IsErased(t.Context(), account); !done || err != nil {
		t.Errorf("it is erased: %v, %v", done, err)
	}
}

// The keyring is a ledger too: it knows of each key that it is destroyed.
func TestRestoreWithoutTheLedgerBringsNobodyBack(t *testing.T) {
	l := newLeaving(t)
	backup := filepath.Join(t.TempDir(), "backup.db")
	must(t, l.in("backup", backup)...)
	must(t, l.in("account", "erase", "anna@example.com", "--yes")...)
	if err := os.Remove(filepath.Join(l.folder, erasure.LedgerName)); err != nil {
		t.Fatal(err)
	}
	must(t, l.in("restore", backup, "--yes")...)
	if datafolder.Missing(filepath.Join(l.folder, erasure.LedgerName)) {
		t.Error("restore did not see to it")
	}
	l.isGone()
}
