package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"konto/cmd/konto/datafolder"
	"konto/commands"
	"konto/events"
	"konto/eventstore"
)

// copyTo copies files of a folder that nobody writes to.
func copyTo(t testing.TB, from, to string, names ...string) {
	t.Helper()
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// opened opens a folder that nobody holds, with its read model caught up.
func openFolder(t testing.TB, folder string) *datafolder.Folder {
	t.Helper()
	h, err := datafolder.Open(t.Context(), datafolder.Config{Path: folder, Holder: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// records reads the log up to a position.
func records(t testing.TB, folder *datafolder.Folder, upTo uint64) (all []eventstore.Record) {
	t.Helper()
	for after := uint64(0); after < upTo; after = all[len(all)-1].Position {
		page, err := folder.Log.ReadAll(t.Context(), after, int(min(datafolder.PageSize, upTo-after)))
		if err != nil || len(page) == 0 {
			t.Fatalf("after %d: %d records, %v", after, len(page), err)
		}
		all = append(all, page...)
	}
	return all
}

// folds folds every account up to a position.
func folds(t testing.TB, folder *datafolder.Folder, upTo uint64) map[events.Stream]events.Account {
	t.Helper()
	all := make(map[events.Stream]events.Account)
	for after := uint64(0); after < upTo; {
		page, err := folder.Store.ReadAll(t.Context(), after, int(min(datafolder.PageSize, upTo-after)))
		if err != nil || len(page) == 0 {
			t.Fatalf("after %d: %d events, %v", after, len(page), err)
		}
		for _, e := range page {
			after = e.Position
			if e.Stream.Category() != events.CategoryAccount {
				continue
			}
			p, err := e.Payload()
			if err != nil {
				t.Fatal(err)
			}
			account := all[e.Stream]
			account.Apply(e, p)
			all[e.Stream] = account
		}
	}
	return all
}

func TestBackupMadeUnderFullLoadRestoresToTheLogAtItsPosition(t *testing.T) {
	const before, goal = 200, 1500
	live, elsewhere, safe := t.TempDir(), t.TempDir(), t.TempDir()
	owners := newOwners(t, live, 32)
	server, url, _ := serve(t, live, "--rate-limit", "off")
	load := startLoad(t, url, owners, goal)
	load.until(before)
	file := filepath.Join(safe, "backup.db")
	made := mustJSON(t, "backup", file, "--data", live)
	if load.enough() {
		t.Error("the load ended before the backup was made")
	}
	keys := mustJSON(t, "keys", "backup", safe, "--data", live)["file"].(string)
	load.all.Wait()
	if status := server.stop(); status != exitDone {
		t.Fatalf("the server ended with %d: %s", status, server.stderr)
	}
	position := uint64(made["position"].(float64))
	if position < before || made["events"] != made["position"] || made["verified"] != true || made["file"] != file {
		t.Errorf("%v", made)
	}

	// All that is left are the backups and the master key.
	copyTo(t, live, elsewhere, "master.key")
	copyTo(t, filepath.Dir(keys), elsewhere, filepath.Base(keys))
	if err := os.Rename(filepath.Join(elsewhere, filepath.Base(keys)), filepath.Join(elsewhere, "keys.db")); err != nil {
		t.Fatal(err)
	}
	got := mustJSON(t, "restore", file, "--data", elsewhere)
	if got["position"] != made["position"] || got["chain"] != made["chain"] || got["replaced"] != nil {
		t.Errorf("backup: %v\nrestore: %v", made, got)
	}

	was, is := openFolder(t, live), openFolder(t, elsewhere)
	if head, err := is.Store.Head(t.Context()); err != nil || head != position {
		t.Fatalf("the restored log ends at %d, not %d: %v", head, position, err)
	}
	want, restored := records(t, was, position), records(t, is, position)
	for i := range want {
		if !reflect.DeepEqual(want[i], restored[i]) {
			t.Fatalf("position %d is another record", want[i].Position)
		}
	}
	accounts := folds(t, was, position)
	if len(accounts) != len(owners) || !reflect.DeepEqual(accounts, folds(t, is, position)) {
		t.Errorf("the accounts differ, or are not %d but %d", len(owners), len(accounts))
	}
	for stream, account := range accounts {
		shown, ok, err := is.Model.Account(t.Context(), account.ID)
		if err != nil || !ok || !reflect.DeepEqual(shown, account) {
			t.Errorf("%s: the read model has version %d, the fold %d: %v", stream, shown.Version, account.Version, err)
		}
		for _, claim := range account.Claims() {
			if holder, err := is.Store.Holder(t.Context(), claim); err != nil || holder != stream {
				t.Errorf("%s does not hold its %s: %v", stream, claim.Kind, err)
			}
		}
	}
	t.Logf("a backup at position %d, the log went on to %d", position, len(records(t, was, mustHead(t, was))))
}

func mustHead(t testing.TB, folder *datafolder.Folder) uint64 {
	t.Helper()
	head, err := folder.Store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return head
}

// enough reports whether the load has reached its goal.
func (l *emailLoad) enough() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acked >= l.goal
}

// onlyFile wants a folder to hold what is named, and nothing else.
func onlyFile(t testing.TB, folder string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, e := range entries {
		found = append(found, e.Name())
	}
	slices.Sort(names)
	if !slices.Equal(found, names) {
		t.Errorf("%v is in the folder, not %v", found, names)
	}
}

func TestBackupsThatFailLeaveNothing(t *testing.T) {
	for name, begin := range map[string]func(t *testing.T, folder string){
		"with a server":    func(t *testing.T, folder string) { serve(t, folder) },
		"without a server": func(*testing.T, string) {},
	} {
		t.Run(name, func(t *testing.T) {
			folder, to := furnished(t), t.TempDir()
			begin(t, folder)
			there := filepath.Join(to, "there.db")
			if err := os.WriteFile(there, []byte("mine"), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, command := range []string{"backup", "export"} {
				refused(t, exitFailed, konto(t, command, there, "--data", folder), "there.db exists already, and is not overwritten")
				refused(t, exitFailed, konto(t, command, filepath.Join(to, "none", "x.db"), "--data", folder), "none", "no such file or directory")
			}
			refused(t, exitFailed, konto(t, "keys", "backup", filepath.Join(to, "none"), "--data", folder), "none", "no such file or directory")
			onlyFile(t, to, "there.db")
			if data, _ := os.ReadFile(there); string(data) != "mine" {
				t.Error("a file was overwritten")
			}
			// A folder with that name is somebody else's, and so are the files in it.
			precious := filepath.Join(to, "now.db.partial", "precious")
			if err := os.MkdirAll(precious, 0o700); err != nil {
				t.Fatal(err)
			}
			refused(t, exitFailed, konto(t, "backup", filepath.Join(to, "now.db"), "--data", folder), "now.db.partial")
			if err := os.Remove(precious); err != nil {
				t.Error(err)
			}
			if err := os.Remove(filepath.Dir(precious)); err != nil {
				t.Error(err)
			}
			must(t, "backup", filepath.Join(to, "now.db"), "--data", folder)
			onlyFile(t, to, "there.db", "now.db")
		})
	}
}

// TestBackupOnAFullDisk lets a process write no file longer than 100 KiB, which is
// enough to open the folder and not for a copy of its log.
func TestBackupOnAFullDisk(t *testing.T) {
	folder, to := furnished(t), t.TempDir()
	h := openFolder(t, folder)
	for i := range 350 {
		if _, err := (&opened{Folder: h}).OpenAccount(t.Context(), datafolder.Itself(), commands.Open{Email: fmt.Sprintf("a%d@example.com", i)}.WithDefaults()); err != nil {
			t.Fatal(err)
		}
	}
	h.Close()
	must(t, "account", "list", "--data", folder) // the read model catches up
	for command, says := range map[string]string{"backup": "konto: no backup was made: ", "export": "konto: no export was made: "} {
		full := exec.Command("bash", "-c", "trap '' XFSZ; ulimit -f 100; exec "+binary(t)+" "+command+" "+filepath.Join(to, "x")+" --data "+folder)
		said, err := full.CombinedOutput()
		if err == nil || strings.Count(string(said), "\n") != 1 || !bytes.HasPrefix(said, []byte(says)) {
			t.Errorf("%s: %v, not one sentence: %s", command, err, said)
		}
		onlyFile(t, to)
	}
}

func TestRelativePathsAreThoseOfTheCaller(t *testing.T) {
	folder, here := furnished(t), t.TempDir()
	serve(t, folder)
	// The server is another process; its working directory is not its caller's.
	for _, args := range [][]string{{"backup", "b.db"}, {"export", "e.ndjson"}, {"keys", "backup", "."}} {
		caller := exec.Command(binary(t), append(args, "--data", folder)...)
		caller.Dir = here
		if said, err := caller.CombinedOutput(); err != nil {
			t.Errorf("konto %s: %s", strings.Join(args, " "), said)
		}
	}
	entries, err := os.ReadDir(here)
	if err != nil || len(entries) != 3 {
		t.Errorf("%v, %v", entries, err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", e.Name(), info.Mode(), err)
		}
	}
}

func TestBackupsOfTheGuideAreMade(t *testing.T) {
	t.Setenv("KONTO_MASTER_KEY", "")
	folder := t.TempDir()
	if err := os.Symlink(binary(t), filepath.Join(folder, "konto")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"backups", "keys"} {
		if err := os.Mkdir(filepath.Join(folder, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	must(t, "account", "open", "--email", "anna@example.com", "--data", filepath.Join(folder, "konto-data"))
	runLines(t, folder, readmeBlock(t, "Backups", "sh"), nil)
	for _, pattern := range []string{"backups/konto-*.db", "keys/keys-*.db"} {
		if made, err := filepath.Glob(filepath.Join(folder, pattern)); err != nil || len(made) != 1 {
			t.Errorf("%s: %v, %v", pattern, made, err)
		}
	}
}
