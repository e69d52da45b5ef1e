package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"konto/cmd/konto/datafolder"
	"konto/eventstore/sqlitefile"
)

// behind changes a file of a data folder behind konto's back.
func behind(t *testing.T, folder, file string, statements ...string) {
	t.Helper()
	db, err := sqlitefile.OpenWriter(filepath.Join(folder, file))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, statement := range statements {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
}

// verifies wants verify, and verify --quick if quick is given, to end well or to
// say what is wrong in one sentence.
func verifies(t *testing.T, folder string, wrong ...string) map[string]any {
	t.Helper()
	r := konto(t, "verify", "--data", folder, "--json")
	report := object(t, r.stdout)
	if report["ok"] != (len(wrong) == 0) || (r.status == exitDone) != (len(wrong) == 0) {
		t.Fatalf("exit %d: %s%s", r.status, r.stdout, r.stderr)
	}
	for _, what := range wrong {
		if !strings.HasPrefix(r.stderr, "konto: ") || strings.Count(r.stderr, "\n") != 1 || !strings.Contains(r.stdout+r.stderr, what) {
			t.Errorf("%q is not said: %s%s", what, r.stdout, r.stderr)
		}
	}
	return report
}

func TestVerifyWithAndWithoutAServer(t *testing.T) {
	folder := t.TempDir()
	must(t, "account", "open", "--data", folder, "--email", "anna@example.com")
	must(t, "key", "issue", "--data", folder, "--account", "anna@example.com", "--scope", "read:account")
	if report := verifies(t, folder); report["position"] != 2.0 || report["accounts"] != 1.0 {
		t.Errorf("%v", report)
	}
	must(t, "verify", "--quick", "--data", folder)
	server, _, _ := serve(t, folder)
	must(t, "third-party", "add", "crm", "--data", folder, "--url", "https://crm.example.com/")
	if report := verifies(t, folder); report["position"].(float64) < 3 {
		t.Errorf("%v", report)
	}
	quick := mustJSON(t, "verify", "--quick", "--data", folder)
	if followers := quick["followers"].([]any); quick["ok"] != true || len(followers) != 3 {
		t.Errorf("%v", quick)
	}
	server.stop()
	verifies(t, folder)
}

// TestVerifyChangesNothing verifies a folder whose read model does not fit its
// log: a start would make it again, and its content would be lost.
func TestVerifyChangesNothing(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"anna", "bo"} {
		must(t, "account", "open", "--data", folder, "--email", name+"@example.com")
	}
	must(t, "account", "list", "--data", folder) // so that the read model knows both
	behind(t, folder, "log.db", "DROP TRIGGER events_are_never_deleted", "DELETE FROM events WHERE position = 2")
	for range 2 {
		verifies(t, folder, "another history than the log's", "the log may have lost its end", "trigger events_are_never_deleted is missing")
	}
}

// TestVerifyFinishesNoRestore: what was interrupted is for a start to finish.
func TestVerifyFinishesNoRestore(t *testing.T) {
	folder, backup := backedUpFolder(t)
	staged, err := datafolder.StageIncoming(folder)
	if err != nil {
		t.Fatal(err)
	}
	copyTo(t, filepath.Dir(backup), staged, filepath.Base(backup))
	if err := os.Rename(filepath.Join(staged, filepath.Base(backup)), filepath.Join(staged, "log.db")); err != nil {
		t.Fatal(err)
	}
	verifies(t, folder) // the old log counts
	incoming := filepath.Join(folder, datafolder.IncomingPrefix+"20261122T100000.000Z")
	if err := os.Rename(staged, incoming); err != nil {
		t.Fatal(err)
	}
	refused(t, exitFailed, konto(t, "verify", "--data", folder), "what konto restore or konto import began: it was interrupted")
	refused(t, exitFailed, konto(t, "verify", "--quick", "--data", folder), "what konto restore or konto import began: it was interrupted")
	onlyFile(t, incoming, "log.db")
	if n := eventCount(t, folder); n != 1 { // as of now the new one counts
		t.Errorf("%d events", n)
	}
	verifies(t, folder)
}

// A folder that is only called alike is somebody's.
func TestFoldersThatNoRestoreMadeAreLeftAlone(t *testing.T) {
	folder := furnished(t)
	path := filepath.Join(folder, datafolder.IncomingPrefix+"letters")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	copyTo(t, folder, path, "log.db")
	verifies(t, folder)
	must(t, "account", "open", "--email", "bo@example.com", "--data", folder)
	must(t, "account", "show", "bo@example.com", "--data", folder)
	onlyFile(t, path, "log.db")
}

func TestVerifyNamesTheFirstPosition(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"anna", "bo", "eva"} {
		must(t, "account", "open", "--data", folder, "--email", name+"@example.com")
	}
	must(t, "account", "list", "--data", folder)
	server, _, _ := serve(t, folder)
	behind(t, folder, "read.db", "DELETE FROM account WHERE position >= 2")
	verifies(t, folder, "konto: position 2: account-", "the read model has no row for it; and 1 more problem")
	server.stop()
}

func TestQuickVerifyReportsMissingFiles(t *testing.T) {
	folder := t.TempDir()
	must(t, "account", "open", "--data", folder, "--email", "anna@example.com")
	serve(t, folder)
	must(t, "verify", "--quick", "--data", folder)
	if err := os.Remove(filepath.Join(folder, "master.key")); err != nil {
		t.Fatal(err)
	}
	r := konto(t, "verify", "--quick", "--data", folder)
	if r.status != exitFailed || !strings.Contains(r.stderr, "master.key: the file is missing") {
		t.Errorf("exit %d: %s", r.status, r.stderr)
	}
}
