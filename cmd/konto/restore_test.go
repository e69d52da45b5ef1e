package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"konto/cmd/konto/datafolder"
)

// backedUpFolder is a folder with an account, its backup, and one event that the
// backup does not have.
func backedUpFolder(t *testing.T) (folder, backup string) {
	t.Helper()
	folder = furnished(t)
	backup = filepath.Join(t.TempDir(), "backup.db")
	must(t, "backup", backup, "--data", folder)
	must(t, "account", "facts", "anna@example.com", "--active-domains", "7", "--data", folder)
	return folder, backup
}

// eventCount is how many events a folder shows.
func eventCount(t *testing.T, folder string) int {
	t.Helper()
	return len(mustLines(t, "events", "list", "--data", folder))
}

func TestRestoreKeepsTheOldLog(t *testing.T) {
	folder, backup := backedUpFolder(t)
	got := mustJSON(t, "restore", backup, "--yes", "--data", folder)
	if n := eventCount(t, folder); n != 1 {
		t.Errorf("%d events", n)
	}
	shown := mustJSON(t, "account", "show", "anna@example.com", "--data", folder)
	if shown["version"] != 1.0 {
		t.Errorf("%v", shown)
	}
	// The old log is whole: with the keys it can be put back.
	aside := got["replaced"].(string)
	if filepath.Dir(aside) != folder {
		t.Errorf("the old log is in %s", aside)
	}
	again := mustJSON(t, "restore", filepath.Join(aside, "log.db"), "--data", folder)
	if n := eventCount(t, folder); n != 2 || again["position"] != 2.0 || got["lost"] != 1.0 || again["lost"] != 0.0 {
		t.Errorf("%d events: %v, %v", n, got, again)
	}
}

// A log whose server was killed has a part of it in its write-ahead log.
func TestRestoreAfterACrashCanBeUndone(t *testing.T) {
	folder := furnished(t)
	backup := filepath.Join(t.TempDir(), "backup.db")
	must(t, "backup", backup, "--data", folder)
	p := startProcess(t, folder)
	must(t, "account", "facts", "anna@example.com", "--active-domains", "7", "--data", folder)
	p.kill()
	got := mustJSON(t, "restore", backup, "--yes", "--data", folder)
	onlyFile(t, got["replaced"].(string), "log.db")
	must(t, "restore", filepath.Join(got["replaced"].(string), "log.db"), "--data", folder)
	if n := eventCount(t, folder); n != 2 || got["lost"] != 1.0 {
		t.Errorf("%d events: %v", n, got)
	}
}

func TestRestoreOverAnotherHistoryNeedsYes(t *testing.T) {
	folder, backup := backedUpFolder(t)
	refused(t, exitFailed, konto(t, "restore", backup, "--data", folder), "nothing was restored: the log in "+folder+" has events that "+
		backup+" does not have: 1, from position 2 on; to set them aside with it, add --yes")
	noneIncoming(t, folder)
	if n := eventCount(t, folder); n != 2 {
		t.Errorf("%d events", n)
	}
	// A longer backup of a history that parted from the log's.
	longer := filepath.Join(t.TempDir(), "longer.db")
	for _, domains := range []string{"8", "9"} {
		must(t, "account", "facts", "anna@example.com", "--active-domains", domains, "--data", folder)
	}
	must(t, "backup", longer, "--data", folder)
	must(t, "restore", backup, "--yes", "--data", folder)
	must(t, "restore", longer, "--data", folder) // it has all that there is
	must(t, "restore", backup, "--yes", "--data", folder)
	must(t, "account", "facts", "anna@example.com", "--active-domains", "1", "--data", folder)
	refused(t, exitFailed, konto(t, "restore", longer, "--data", folder), longer+" does not have: 1, from position 2 on")
	must(t, "restore", longer, "--yes", "--data", folder)
	if n := eventCount(t, folder); n != 4 {
		t.Errorf("%d events", n)
	}
}

func TestRestoreInPlaceOfADamagedLog(t *testing.T) {
	folder, backup := backedUpFolder(t)
	for _, name := range []string{"log.db", "log.db-wal", "read.db"} {
		if err := os.WriteFile(filepath.Join(folder, name), bytes.Repeat([]byte("damage"), 5000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got := mustJSON(t, "restore", backup, "--data", folder)
	if n := eventCount(t, folder); n != 1 {
		t.Errorf("%d events", n)
	}
	onlyFile(t, got["replaced"].(string), "log.db", "log.db-wal")
	if _, ok := got["lost"]; ok {
		t.Errorf("nobody can know what it had: %v", got)
	}
}

func TestRestoreIsRefusedWhileTheFolderIsInUse(t *testing.T) {
	folder, backup := backedUpFolder(t)
	server, _, _ := serve(t, folder)
	refused(t, exitFailed, konto(t, "restore", backup, "--data", folder), "nothing was restored: data folder "+folder+" is in use by konto serve", "must be stopped first")
	refused(t, exitFailed, kontoWith(t, "", "import", backup, "--data", folder), "nothing was imported")
	server.stop()
	if n := eventCount(t, folder); n < 2 {
		t.Errorf("%d events", n)
	}
}

func TestDamagedBackupsAreRefused(t *testing.T) {
	folder, backup := backedUpFolder(t)
	other, otherBackup := backedUpFolder(t)
	dir := t.TempDir()
	good, err := os.ReadFile(backup)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	flipped := bytes.Clone(good)
	flipped[bytes.Index(good, []byte("AccountOpened.v1"))-1] ^= 1
	live := filepath.Join(dir, "live.db")
	write("live.db", good)
	write("live.db-wal", []byte("not empty"))
	for name, test := range map[string]struct{ file, says string }{
		"missing":        {filepath.Join(dir, "none.db"), "no such file"},
		"a folder":       {dir, "is a directory"},
		"empty":          {write("empty.db", nil), "not a SQLite database"},
		"garbage":        {write("garbage.db", bytes.Repeat([]byte("garbage "), 4000)), "not a SQLite database"},
		"half of it":     {write("half.db", good[:len(good)/2]), "cannot be used"},
		"a flipped byte": {write("flipped.db", flipped), "cannot be used"},
		"keys":           {filepath.Join(other, "keys.db"), "no log of konto's"},
		"another log":    {otherBackup, "keys belong to another log"},
		"a log in use":   {live, "a write-ahead log is beside it"},
	} {
		t.Run(name, func(t *testing.T) {
			r := konto(t, "restore", test.file, "--yes", "--data", folder)
			refused(t, exitFailed, r, "nothing was restored: ", test.file, test.says)
			if strings.Contains(r.stderr, datafolder.IncomingPartial) {
				t.Errorf("the error names a file that nobody gave: %s", r.stderr)
			}
			if n := eventCount(t, folder); n != 2 {
				t.Errorf("%d events", n)
			}
			noneIncoming(t, folder)
		})
	}
	t.Run("no keys", func(t *testing.T) {
		refused(t, exitFailed, konto(t, "restore", backup, "--data", t.TempDir()), "there is no keys.db")
		refused(t, exitFailed, konto(t, "restore", backup, "--data", filepath.Join(dir, "nowhere")), "there is no folder")
	})
	if after, err := os.ReadFile(backup); err != nil || !bytes.Equal(after, good) {
		t.Errorf("the backup was changed, %v", err)
	}
}

// noneIncoming wants nothing to be left of a restore or an import.
func noneIncoming(t *testing.T, folder string) {
	t.Helper()
	for _, pattern := range []string{"incoming*", "replaced-*"} {
		if left, err := filepath.Glob(filepath.Join(folder, pattern)); err != nil || len(left) > 0 {
			t.Errorf("%v, %v", left, err)
		}
	}
}

func TestKeysThatAreOlderThanTheBackupAreRefused(t *testing.T) {
	folder := furnished(t)
	safe, elsewhere := t.TempDir(), t.TempDir()
	keys := mustJSON(t, "keys", "backup", safe, "--data", folder)["file"].(string)
	must(t, "account", "open", "--data", folder, "--email", "later@example.com")
	must(t, "account", "facts", "anna@example.com", "--verified", "--data", folder) // the last event has a key
	backup := filepath.Join(safe, "backup.db")
	must(t, "backup", backup, "--data", folder)
	copyTo(t, folder, elsewhere, "master.key")
	if err := os.Rename(keys, filepath.Join(elsewhere, "keys.db")); err != nil {
		t.Fatal(err)
	}
	refused(t, exitFailed, konto(t, "restore", backup, "--data", elsewhere), "keys.db does not fit", "older than the log's position 2")
	onlyFile(t, elsewhere, "keys.db", "keys.db-stamp", "konto.lock", "master.key")
}

// TestRestoreSurvivesACrashAtEveryStep begins where each step of the restore ended.
func TestRestoreSurvivesACrashAtEveryStep(t *testing.T) {
	t.Parallel()
	const stamp = "20261122T100000.000Z"
	incoming := func(folder string) string { return filepath.Join(folder, datafolder.IncomingPrefix+stamp) }
	aside := func(folder string) string { return filepath.Join(folder, datafolder.ReplacedPrefix+stamp) }
	do := func(t *testing.T, errs ...error) {
		t.Helper()
		for _, err := range errs {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	steps := []struct {
		name string
		do   func(t *testing.T, folder string)
	}{
		{"committed", func(t *testing.T, folder string) {}},
		{"the folder for the old log made", func(t *testing.T, folder string) { do(t, os.Mkdir(aside(folder), 0o700)) }},
		{"its write-ahead log moved", func(t *testing.T, folder string) {
			do(t, os.WriteFile(filepath.Join(aside(folder), "log.db-wal"), nil, 0o600))
		}},
		{"the old log moved", func(t *testing.T, folder string) { do(t, moveFile(folder, aside(folder), "log.db")) }},
		{"the read model removed", func(t *testing.T, folder string) { do(t, os.Remove(filepath.Join(folder, "read.db"))) }},
		{"the new log moved", func(t *testing.T, folder string) { do(t, moveFile(incoming(folder), folder, "log.db")) }},
		{"all done", func(t *testing.T, folder string) { do(t, os.Remove(incoming(folder))) }},
	}
	for crash := range steps {
		t.Run(steps[crash].name, func(t *testing.T) {
			folder, backup := backedUpFolder(t)
			do(t, os.Mkdir(incoming(folder), 0o700))
			copyTo(t, filepath.Dir(backup), incoming(folder), "backup.db")
			do(t, os.Rename(filepath.Join(incoming(folder), "backup.db"), filepath.Join(incoming(folder), "log.db")))
			for _, step := range steps[:crash+1] {
				step.do(t, folder)
			}
			for range 2 { // a start after the one that finished it changes nothing
				if n := eventCount(t, folder); n != 1 {
					t.Fatalf("%d events", n)
				}
			}
			if shown := mustJSON(t, "account", "show", "anna@example.com", "--data", folder); shown["version"] != 1.0 {
				t.Errorf("the read model is the old log's: %v", shown)
			}
			if !datafolder.Missing(incoming(folder)) || datafolder.Missing(filepath.Join(aside(folder), "log.db")) {
				t.Error("it is not finished")
			}
		})
	}
	t.Run("before it was committed", func(t *testing.T) {
		folder, backup := backedUpFolder(t)
		staged, err := datafolder.StageIncoming(folder)
		do(t, err)
		copyTo(t, filepath.Dir(backup), staged, "backup.db")
		if n := eventCount(t, folder); n != 2 {
			t.Errorf("%d events", n)
		}
		noneIncoming(t, folder)
	})
}

func TestCommittedFilesAreComplete(t *testing.T) {
	folder, backup := backedUpFolder(t)
	staged, err := datafolder.StageIncoming(folder)
	if err != nil {
		t.Fatal(err)
	}
	copyTo(t, filepath.Dir(backup), staged, "backup.db")
	if err := os.Rename(filepath.Join(staged, "backup.db"), filepath.Join(staged, "log.db")); err != nil {
		t.Fatal(err)
	}
	aside, err := datafolder.CommitIncoming(folder, time.Now())
	if err != nil || datafolder.Missing(filepath.Join(aside, "log.db")) {
		t.Errorf("the old log is in %q, %v", aside, err)
	}
}

// TestServerStartsOnAnOlderLog: what a server sent to others of later events does
// not keep it from telling of what happens after the restore.
func TestServerStartsOnAnOlderLog(t *testing.T) {
	folder := furnished(t)
	server, _, _ := serve(t, folder)
	must(t, "account", "facts", "anna@example.com", "--active-domains", "1", "--data", folder)
	backup := filepath.Join(t.TempDir(), "backup.db")
	must(t, "backup", backup, "--data", folder)
	for _, domains := range []string{"2", "3", "4"} {
		must(t, "account", "facts", "anna@example.com", "--active-domains", domains, "--data", folder)
	}
	server.stop()
	must(t, "restore", backup, "--yes", "--data", folder)
	server, url, _ := serve(t, folder)
	must(t, "account", "facts", "anna@example.com", "--active-domains", "9", "--data", folder)
	if shown := mustJSON(t, "account", "show", "anna@example.com", "--data", folder); shown["version"] != 3.0 {
		t.Errorf("%v", shown)
	}
	if status, body := send(t, "GET", url+"/healthz", "", ""); status != 200 || strings.Contains(body, `"retrying"`) {
		t.Errorf("the server's health is %d %s", status, body)
	}
	if status := server.stop(); status != exitDone {
		t.Errorf("ended with %d: %s", status, server.stderr)
	}
}

func TestErasedAccountsAreErasedAgainAfterARestore(t *testing.T) {
	folder, backup := backedUpFolder(t)
	must(t, "account", "open", "--data", folder, "--email", "stays@example.com")
	must(t, "account", "erase", "anna@example.com", "--yes", "--data", folder)
	must(t, "restore", backup, "--yes", "--data", folder)
	if r := konto(t, "account", "show", "anna@example.com", "--data", folder); r.status == exitDone {
		t.Errorf("the account is back: %s", r.stdout)
	}
	// Its address is free, so its claims went too.
	must(t, "account", "open", "--data", folder, "--email", "anna@example.com")
}

// moveFile moves a file that is there.
func moveFile(from, to, name string) error {
	err := os.Rename(filepath.Join(from, name), filepath.Join(to, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
