package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"konto/cmd/konto/copies"
	"konto/cmd/konto/datafolder"
	"konto/cmd/konto/erasure"
	"konto/eventstore/sqlitefile"
)

// crashedFolder is what a killed server left: with a write-ahead log beside keys.db. The
// copy of the keys was made shortly before.
func crashedFolder(t *testing.T) (folder, copied string) {
	t.Helper()
	folder = furnished(t)
	p := startProcess(t, folder)
	for _, name := range []string{"bo", "eva"} {
		must(t, "account", "open", "--email", name+"@example.com", "--data", folder)
	}
	copied = mustJSON(t, "keys", "backup", t.TempDir(), "--data", folder)["file"].(string)
	p.kill()
	if info, err := os.Stat(filepath.Join(folder, "keys.db-wal")); err != nil || info.Size() == 0 {
		t.Fatalf("there is no write-ahead log: %v", err)
	}
	return folder, copied
}

// overwritten puts a copy there by hand.
func overwritten(t *testing.T, from, to string) []byte {
	t.Helper()
	content, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, content, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestKeysPutBackByHandBesideTheLostFilesWriteAheadLog(t *testing.T) {
	folder, copied := crashedFolder(t)
	path := filepath.Join(folder, "keys.db")
	content := overwritten(t, copied, path)
	for _, args := range [][]string{{"account", "list"}, {"verify"}, {"serve", "--http", "127.0.0.1:0", "--nats-listen", "off"}} {
		refused(t, exitFailed, konto(t, append(args, "--data", folder)...), path, sqlitefile.ErrForeignWAL.Error(), "konto keys restore")
	}
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, content) {
		t.Errorf("the copy was changed, %v", err)
	}
	done := mustJSON(t, "keys", "restore", copied, "--data", folder)
	onlyFile(t, done["replaced"].(string), "keys.db", "keys.db-wal", "keys.db-shm", "keys.db-stamp")
	if done["file"] != copied || done["verified"] != true {
		t.Errorf("%v", done)
	}
	verifies(t, folder)
	must(t, "account", "show", "eva@example.com", "--data", folder)
}

func TestKeysRestoreAfterTheLossOfKeys(t *testing.T) {
	for name, lose := range map[string]func(path string) error{
		"lost": os.Remove,
		"damaged": func(path string) error {
			return os.WriteFile(path, bytes.Repeat([]byte("damage"), 5000), 0o600)
		},
		"all of it": func(path string) error {
			return os.RemoveAll(filepath.Join(filepath.Dir(path), "keys.db-wal"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			folder, copied := crashedFolder(t)
			if err := lose(filepath.Join(folder, "keys.db")); err != nil {
				t.Fatal(err)
			}
			must(t, "keys", "restore", copied, "--data", folder)
			verifies(t, folder)
			if n := len(mustLines(t, "account", "list", "--data", folder)); n != 3 {
				t.Errorf("%d accounts", n)
			}
		})
	}
}

func TestErasedAccountsStayErasedAfterKeysAreRestored(t *testing.T) {
	l := newLeaving(t)
	copied := mustJSON(t, l.in("keys", "backup", t.TempDir())...)["file"].(string)
	must(t, l.in("account", "erase", "anna@example.com", "--yes")...)
	must(t, l.in("keys", "restore", copied)...)
	l.isGone()
}

// A read model that was made after the erasure does not know whose the keys and sessions
// are, and cannot read what can be read again.
func TestErasedAccountsStayErasedBesideANewerReadModel(t *testing.T) {
	for name, again := range map[string]func(l *leaving, copied string){
		"restored": func(l *leaving, copied string) { must(t, l.in("keys", "restore", copied)...) },
		"by hand":  func(l *leaving, copied string) { overwritten(t, copied, filepath.Join(l.folder, "keys.db")) },
		"ledger lost": func(l *leaving, copied string) {
			if err := os.Remove(filepath.Join(l.folder, erasure.LedgerName)); err != nil {
				t.Fatal(err)
			}
			must(t, l.in("keys", "restore", copied)...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLeaving(t)
			copied := mustJSON(t, l.in("keys", "backup", t.TempDir())...)["file"].(string)
			must(t, l.in("account", "erase", "anna@example.com", "--yes")...)
			must(t, l.in("replay", "read-model")...)
			again(l, copied)
			l.isGone()
		})
	}
}

// What was there can be put back, should the copy be the wrong one.
func TestKeysRestoreCanBeUndone(t *testing.T) {
	folder, copied := crashedFolder(t)
	done := mustJSON(t, "keys", "restore", copied, "--data", folder)
	must(t, "keys", "restore", filepath.Join(done["replaced"].(string), "keys.db"), "--data", folder)
	verifies(t, folder)
}

func TestKeysThatDoNotFitAreRefused(t *testing.T) {
	folder, dir := furnished(t), t.TempDir()
	older := mustJSON(t, "keys", "backup", dir, "--data", folder)["file"].(string)
	must(t, "account", "open", "--email", "later@example.com", "--data", folder)
	copied := mustJSON(t, "keys", "backup", dir, "--data", folder)["file"].(string)
	good, err := os.ReadFile(copied)
	if err != nil {
		t.Fatal(err)
	}
	other := furnished(t)
	copyTo(t, folder, other, "master.key") // its keys are wrapped by another
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	flipped := bytes.Clone(good)
	flipped[bytes.Index(good, []byte("account-"))+80] ^= 1 // in a wrapped key
	inUse := write("use.db", good)
	write("use.db-wal", []byte("not empty"))
	linked := filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(inUse, linked); err != nil {
		t.Fatal(err)
	}
	elsewhere := furnished(t)
	for name, test := range map[string]struct{ file, says string }{
		"missing":              {filepath.Join(dir, "none.db"), "no such file"},
		"empty":                {write("empty.db", nil), "not a SQLite database"},
		"garbage":              {write("garbage.db", bytes.Repeat([]byte("garbage "), 4000)), "not a SQLite database"},
		"half of it":           {write("half.db", good[:len(good)/2]), "cannot be used"},
		"a flipped byte":       {write("flipped.db", flipped), "damaged"},
		"a log":                {filepath.Join(folder, "log.db"), "cannot be used"},
		"another master key":   {filepath.Join(elsewhere, "keys.db"), "master key is not the one"},
		"in use":               {inUse, "a write-ahead log is beside it"},
		"a link to one in use": {linked, "a write-ahead log is beside it"},
		"older than the log":   {older, "does not fit the log: the keys are older than the log's position 2"},
	} {
		t.Run(name, func(t *testing.T) {
			r := konto(t, "keys", "restore", test.file, "--data", folder)
			refused(t, exitFailed, r, "nothing was restored: ", test.file, test.says)
			if strings.Contains(r.stderr, datafolder.IncomingPartial) {
				t.Errorf("the error names a file that nobody gave: %s", r.stderr)
			}
			noneIncoming(t, folder)
		})
	}
	t.Run("another log's", func(t *testing.T) {
		to := furnished(t)
		copyTo(t, folder, to, "master.key")
		refused(t, exitFailed, konto(t, "keys", "restore", copied, "--data", to), "does not fit the log", "another log")
	})
	t.Run("no log", func(t *testing.T) {
		refused(t, exitFailed, konto(t, "keys", "restore", copied, "--data", t.TempDir()), "there is no log.db", "konto restore --keys")
	})
	t.Run("in use", func(t *testing.T) {
		serve(t, folder)
		refused(t, exitFailed, konto(t, "keys", "restore", copied, "--data", folder),
			"nothing was restored: data folder "+folder+" is in use by konto serve", "must be stopped first")
	})
}

// TestKeysRestoreSurvivesACrashAtEveryStep begins where each step ended.
func TestKeysRestoreSurvivesACrashAtEveryStep(t *testing.T) {
	t.Parallel()
	const stamp = "20261122T100000.000Z"
	steps := []string{"keys.db-wal", "keys.db-shm", "keys.db-stamp", "keys.db", ""}
	for crash, last := range steps {
		t.Run("after "+last, func(t *testing.T) {
			folder, copied := crashedFolder(t)
			incoming, aside := filepath.Join(folder, datafolder.IncomingPrefix+stamp), filepath.Join(folder, datafolder.ReplacedPrefix+stamp)
			for _, made := range []string{incoming, aside} {
				if err := os.Mkdir(made, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			overwritten(t, copied, filepath.Join(incoming, "keys.db"))
			for _, name := range steps[:crash] {
				if err := moveFile(folder, aside, name); err != nil {
					t.Fatal(err)
				}
			}
			if last == "" {
				if err := moveFile(incoming, folder, "keys.db"); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 {
				if n := len(mustLines(t, "account", "list", "--data", folder)); n != 3 {
					t.Errorf("%d accounts", n)
				}
			}
			verifies(t, folder)
			onlyFile(t, aside, "keys.db", "keys.db-wal", "keys.db-shm", "keys.db-stamp")
			if !datafolder.Missing(incoming) {
				t.Error("it is not finished")
			}
		})
	}
}

// An older copy of the keys needs an older log: both come together.
func TestRestoreCanReplaceTheKeysToo(t *testing.T) {
	folder, backup := backedUpFolder(t)
	copied := mustJSON(t, "keys", "backup", t.TempDir(), "--data", folder)["file"].(string)
	must(t, "account", "open", "--email", "later@example.com", "--data", folder)
	if err := os.Remove(filepath.Join(folder, "keys.db")); err != nil {
		t.Fatal(err)
	}
	refused(t, exitFailed, konto(t, "restore", backup, "--data", folder), "there is no keys.db", "--keys")
	refused(t, exitFailed, konto(t, "keys", "restore", copied, "--data", folder), "the keys are older than the log's position 3")
	if err := os.WriteFile(filepath.Join(folder, erasure.LedgerName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if done := mustJSON(t, "restore", backup, "--keys", copied, "--yes", "--data", folder); done["notice"] != nil {
		t.Errorf("%v", done)
	}
	verifies(t, folder)

	// After the loss of everything.
	elsewhere := t.TempDir()
	copyTo(t, folder, elsewhere, "master.key")
	if done := mustJSON(t, "restore", backup, "--keys", copied, "--data", elsewhere); done["replaced"] != nil || done["lost"] != 0.0 || done["notice"] != copies.NoErasures {
		t.Errorf("%v", done)
	}
	verifies(t, elsewhere)
}
