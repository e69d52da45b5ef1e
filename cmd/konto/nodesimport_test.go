//go:build servers

package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"konto/eventstore/postgres/postgrestest"
)

// A log that was served from a folder moves to Postgres with its keys: the same positions, keys of
// accounts, answers to repeated requests, third parties and proofs of erasures.
func TestServedFolderMovesToPostgres(t *testing.T) {
	folder := t.TempDir()
	writers := newWriters(t, folder)
	crm := newEndpoint(t, "crm", func() int { return http.StatusOK })
	crm.register(folder, "--event", "ProfileUpdated")
	opened := mustJSON(t, "account", "open", "--email", "gone@example.com", "--data", folder)
	served, url, _ := serve(t, folder, "--third-party-allow", "127.0.0.0/8")
	var first []reply
	for _, w := range writers {
		first = append(first, w.mustAnswer(t, url, 1, 2))
		w.mustAnswer(t, url, 2, 3)
	}
	erased := mustJSON(t, "account", "erase", opened["id"].(string), "--yes", "--data", folder)
	crm.untilTaken(18)
	served.stop()
	exported := filepath.Join(t.TempDir(), "konto.ndjson")
	made := mustJSON(t, "export", exported, "--encrypted", "--data", folder)
	want := shows(t, folder)
	keys := filepath.Join(folder, "keys.db")
	before, err := os.ReadFile(keys)
	if err != nil {
		t.Fatal(err)
	}

	store := replicated(t)
	t.Setenv("KONTO_MASTER_KEY", newMaster()) // the folder has another one, in master.key
	t.Setenv("KONTO_STORE", store)
	admin := t.TempDir()
	must(t, "nats", "issuer", "--data", admin) // somebody tried the store before
	refused(t, exitFailed, konto(t, "import", exported, "--data", admin), "--keys")
	got := mustJSON(t, "import", exported, "--keys", keys, "--data", admin)
	if got["events"] != made["events"] || got["chain"] != made["chain"] || len(got["chain"].(string)) != 64 || got["erasures"] != 1.0 || got["notice"] != nil {
		t.Errorf("exported %v, imported %v", made, got)
	}
	if after, err := os.ReadFile(keys); err != nil || !bytes.Equal(before, after) {
		t.Errorf("keys.db was changed, %v", err)
	}
	refused(t, exitFailed, konto(t, "import", exported, "--keys", keys, "--data", admin), "has events already")

	n := newNodes(t, store)
	if is := shows(t, n.folder); is != want {
		t.Errorf("the logs differ:\n%s\n%s", want, is)
	}
	if proof := n.must(t, "account", "erase", opened["id"].(string), "--yes"); proof["proof"] != erased["proof"] {
		t.Errorf("the proof was %v and is %v", erased, proof)
	}
	a := n.start(t, "a")
	for i, w := range writers {
		if again := w.mustAnswer(t, a.url, 1, 2); again != first[i] {
			t.Errorf("%s %s answered %+v, and %+v before the move", w.method, w.path, again, first[i])
		}
		w.mustAnswer(t, a.url, 3, 4)
	}
	crm.untilTaken(27) // of three changes of nine accounts; what was delivered before is not sent again
	refused(t, exitFailed, konto(t, "import", exported, "--keys", keys, "--data", admin), "nodes run on this store (a): stop them first")
	a.stop(t)
}

// Accounts that were erased after the export, or after the copy of the keys was made, do not come
// back, and an export in clear brings no keys.
func TestImportIntoPostgresErasesWhatTheLedgerSays(t *testing.T) {
	for name, encrypted := range map[string]bool{"encrypted": true, "in clear": false} {
		t.Run(name, func(t *testing.T) {
			folder, copied := t.TempDir(), t.TempDir()
			opened := mustJSON(t, "account", "open", "--email", "gone@example.com", "--data", folder)
			must(t, "account", "open", "--email", "stays@example.com", "--data", folder)
			exported := filepath.Join(copied, "konto.ndjson")
			args := []string{"export", exported, "--data", folder}
			if encrypted {
				args = append(args, "--encrypted")
			}
			must(t, args...)
			kept := strings.TrimSpace(must(t, "keys", "backup", copied, "--json", "--data", folder))
			keys := object(t, kept)["file"].(string)
			must(t, "account", "erase", opened["id"].(string), "--yes", "--data", folder)

			primary := postgrestest.Primary(t)
			primary.Standby(t, "standby")
			key, err := os.ReadFile(filepath.Join(folder, "master.key"))
			if err != nil {
				t.Fatal(err)
			}
			t.Setenv("KONTO_MASTER_KEY", strings.TrimSpace(string(key)))
			t.Setenv("KONTO_STORE", primary.URL())
			admin := t.TempDir()
			args = []string{"import", exported, "--erasures", filepath.Join(folder, "erasures.ndjson"), "--data", admin}
			if encrypted {
				args = append(args, "--keys", keys)
			} else {
				refused(t, exitFailed, konto(t, append(args, "--keys", keys)...), "leave --keys out")
			}
			must(t, args...)
			shown := konto(t, "account", "show", opened["id"].(string), "--json", "--data", admin)
			if strings.Contains(shown.stdout, "gone@example.com") {
				t.Errorf("the account is back: %s", shown.stdout)
			}
			must(t, "account", "open", "--email", "gone@example.com", "--data", admin)
			must(t, "account", "show", "stays@example.com", "--data", admin)
			// The proof is one that these keys make.
			must(t, "account", "erase", opened["id"].(string), "--yes", "--data", admin)
			must(t, "verify", "--data", admin)
		})
	}
}

// An import that was killed leaves a log that nobody opens, and can be repeated.
func TestImportIntoPostgresThatWasKilledIsRepeated(t *testing.T) {
	folder := t.TempDir()
	var lines strings.Builder
	for i := range 1500 { // more than the import stores at once
		fmt.Fprintf(&lines, `{"email":"a%d@example.com"}`+"\n", i)
	}
	if r := kontoWith(t, lines.String(), "account", "import", "-", "--data", folder); r.status != exitDone {
		t.Fatal(r.stderr)
	}
	exported := filepath.Join(t.TempDir(), "konto.ndjson")
	must(t, "export", exported, "--encrypted", "--data", folder)
	store := replicated(t)
	t.Setenv("KONTO_MASTER_KEY", newMaster())
	t.Setenv("KONTO_STORE", store)
	admin := t.TempDir()
	args := []string{"import", exported, "--keys", filepath.Join(folder, "keys.db"), "--data", admin}
	importing := exec.Command(binary(t), args...)
	if err := importing.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(patience)
	for {
		r := konto(t, "account", "list", "--data", admin)
		if strings.Contains(r.stderr, "an import into this log has not ended") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no import began: %+v", r)
		}
	}
	importing.Process.Kill()
	importing.Wait()
	refused(t, exitFailed, konto(t, "account", "list", "--data", admin), "an import into this log has not ended")
	if got := mustJSON(t, args...); got["events"] != 1500.0 {
		t.Errorf("%v", got)
	}
}
