package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"konto/cmd/konto/control"
	"konto/cmd/konto/datafolder"
	"konto/eventstore/keyring"
	"konto/eventstore/sqlitefile"
)

// furnished is a data folder with one account in it.
func furnished(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	must(t, "account", "open", "--data", folder, "--email", "anna@example.com")
	return folder
}

// serveOn is a server that is not expected to start.
func serveOn(t *testing.T, folder string, args ...string) result {
	t.Helper()
	return konto(t, append([]string{"serve", "--data", folder, "--http", "127.0.0.1:0", "--nats-listen", "off"}, args...)...)
}

func TestLockedFolder(t *testing.T) {
	folder := furnished(t)
	serve(t, folder)
	refused(t, exitFailed, serveOn(t, folder), "data folder "+folder+" is in use by konto serve (process ")
	refused(t, exitFailed, konto(t, "demo", "--data", folder), folder+" is in use by konto serve")
}

func TestCommandsWorkWhileAFolderIsTailed(t *testing.T) {
	folder := furnished(t)
	tail := start(t, "events", "tail", "--after", "0", "--data", folder)
	tail.stdout.find(t, secondLine)
	refused(t, exitFailed, serveOn(t, folder), folder+" is in use by konto events tail (process ")
}

func TestLockHoldsWithoutItsFile(t *testing.T) {
	folder := furnished(t)
	serve(t, folder)
	if err := os.Remove(filepath.Join(folder, datafolder.HolderName)); err != nil {
		t.Fatal(err)
	}
	refused(t, exitFailed, serveOn(t, folder), "data folder "+folder+" is in use by another process")
	if r := konto(t, "account", "list", "--data", folder); r.status != exitDone {
		t.Errorf("the server is not asked: %s", r.stderr)
	}
}

func TestTakenPorts(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	folder := furnished(t)
	refused(t, exitFailed, serveOn(t, folder, "--http", address), "HTTP", address, "address already in use")
	refused(t, exitFailed, serveOn(t, folder, "--nats-listen", address), "NATS", address, "address is already in use")
	refused(t, exitFailed, konto(t, "demo", "--http", address), address)
	// What a server opened before it found out is free again.
	serve(t, folder)
}

func TestKeysThatAreMissingOrWrong(t *testing.T) {
	list := func(folder string) result { return konto(t, "account", "list", "--data", folder) }
	folder := furnished(t)
	key := filepath.Join(folder, "master.key")
	kept, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	refused(t, exitFailed, list(folder), keyring.ErrNoMaster.Error(), key)
	refused(t, exitFailed, serveOn(t, folder), keyring.ErrNoMaster.Error(), key)
	if !datafolder.Missing(key) {
		t.Fatal("a new key was made beside old files")
	}
	t.Setenv("KONTO_MASTER_KEY", strings.Repeat("5a", 32))
	refused(t, exitFailed, list(folder), keyring.ErrWrongMaster.Error())
	t.Setenv("KONTO_MASTER_KEY", "nonsense")
	refused(t, exitFailed, list(folder), "KONTO_MASTER_KEY")
	t.Setenv("KONTO_MASTER_KEY", string(kept))
	if r := list(folder); !strings.Contains(r.stdout, "anna@example.com") {
		t.Errorf("the key was given and %s", r.stderr)
	}
}

func TestOneOfLogAndKeysIsMissing(t *testing.T) {
	for _, name := range []string{"log.db", "keys.db"} {
		t.Run(name, func(t *testing.T) {
			folder := furnished(t)
			path := filepath.Join(folder, name)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the refusal must not leave an empty file for the next start
				refused(t, exitFailed, serveOn(t, folder), path, "missing")
				refused(t, exitFailed, konto(t, "account", "list", "--data", folder), path, "missing")
			}
		})
	}
}

// An empty file is a valid SQLite database, and it is what a copy without its
// WAL may be.
func TestOneOfLogAndKeysIsEmptied(t *testing.T) {
	for _, name := range []string{"log.db", "keys.db"} {
		t.Run(name, func(t *testing.T) {
			folder := furnished(t)
			path := filepath.Join(folder, name)
			if err := os.Truncate(path, 0); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				refused(t, exitFailed, serveOn(t, folder), path, keyring.ErrOtherLog.Error())
				refused(t, exitFailed, konto(t, "account", "list", "--data", folder), path, keyring.ErrOtherLog.Error())
			}
		})
	}
}

func TestKeysOlderThanTheLog(t *testing.T) {
	folder := furnished(t)
	path := filepath.Join(folder, "keys.db")
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	eva := mustJSON(t, "account", "open", "--data", folder, "--email", "eva@example.com")["id"].(string)
	must(t, "account", "facts", "anna@example.com", "--verified", "--data", folder) // the last event has a key
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, exitFailed, serveOn(t, folder), "keys are older than the log's position 2", eva)
	verifies(t, folder, "keys.db: the keys are older than the log's position 2", "the key of its stream is missing", eva)
	if r := konto(t, "verify", "--quick", "--data", folder); r.status != exitFailed || !strings.Contains(r.stderr, "the keys are older") {
		t.Errorf("exit %d: %s", r.status, r.stderr)
	}
}

func TestMalformedFiles(t *testing.T) {
	for _, name := range []string{"keys.db", "log.db", "read.db"} {
		t.Run(name, func(t *testing.T) {
			folder := furnished(t)
			path := filepath.Join(folder, name)
			if err := os.WriteFile(path, []byte(strings.Repeat("this is no database. ", 1000)), 0o600); err != nil {
				t.Fatal(err)
			}
			refused(t, exitFailed, konto(t, "account", "list", "--data", folder), path, "damaged")
			refused(t, exitFailed, serveOn(t, folder), path, "damaged")
			if content, err := os.ReadFile(path); err != nil || !strings.HasPrefix(string(content), "this is no database") {
				t.Error("the file was changed")
			}
		})
	}
}

func TestReadModelThatIsGone(t *testing.T) {
	folder := furnished(t)
	if err := os.Remove(filepath.Join(folder, "read.db")); err != nil {
		t.Fatal(err)
	}
	if listed := must(t, "account", "list", "--data", folder); !strings.Contains(listed, "anna@example.com") {
		t.Errorf("listed %q", listed)
	}
}

func TestErrorSaysHowToBeginAKonto(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "none")
	for _, args := range []string{
		"account list", "account show a@example.com", "account history a@example.com", "account facts a@example.com --verified=true",
		"account erase a@example.com --yes", "key list", "key revoke x", "key issue --account a@example.com --scope read:account",
		"session open --account a@example.com", "session list", "events list", "events tail", "verify", "keys rotate", "replay read-model",
		"backup " + folder + ".db", "export " + folder + ".ndjson", "third-party list", "third-party pause crm",
	} {
		refused(t, exitFailed, konto(t, append(strings.Fields(args), "--data", folder)...),
			"there is no konto in "+folder+"; konto serve begins one, and so does konto account open --data "+folder)
	}
	empty(t, filepath.Dir(folder))
}

func TestKontoIsBegunInAFolderThatWasNamed(t *testing.T) {
	export := filepath.Join(t.TempDir(), "export")
	must(t, "export", export, "--data", furnished(t))
	for name, args := range map[string]string{
		"account open":    "--email anna@example.com",
		"key issue":       "--client newspaper --scope /external/account/r",
		"session open":    "--admin eva",
		"third-party add": "crm --url https://crm.example.com/",
		"account import":  "-",
		"import":          export,
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			all := strings.Fields(name + " " + args)
			refused(t, exitFailed, konto(t, all...), "there is no konto in konto-data")
			empty(t, ".")
			folder := filepath.Join(t.TempDir(), "named")
			if r := konto(t, append(all, "--data", folder)...); r.status != exitDone || r.stderr != "konto: a new konto was begun in "+folder+"\n" {
				t.Errorf("exit %d: %q", r.status, r.stderr)
			}
			if again := konto(t, append(all, "--data", folder)...); strings.Contains(again.stderr, "begun") {
				t.Errorf("the second time: %q", again.stderr)
			}
			if info, err := os.Stat(folder); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("the folder's mode is %v, %v", info.Mode(), err)
			}
			named := filepath.Join(t.TempDir(), "by a variable")
			t.Setenv("KONTO_DATA", named)
			if r := konto(t, all...); r.status != exitDone || r.stderr != "konto: a new konto was begun in "+named+"\n" {
				t.Errorf("exit %d: %q", r.status, r.stderr)
			}
		})
	}
}

// What is restored where nothing was begins a konto too.
func TestRestoreBeginsOnlyInAFolderThatWasNamed(t *testing.T) {
	folder, copies := furnished(t), t.TempDir()
	backup := filepath.Join(copies, "log.db")
	must(t, "backup", backup, "--data", folder)
	must(t, "keys", "backup", copies, "--data", folder)
	keys, _ := filepath.Glob(filepath.Join(copies, "keys-*.db"))
	t.Chdir(t.TempDir())
	if err := os.Mkdir(defaultData, 0o700); err != nil {
		t.Fatal(err)
	}
	master, err := os.ReadFile(filepath.Join(folder, "master.key"))
	if err != nil || os.WriteFile(filepath.Join(defaultData, "master.key"), master, 0o600) != nil {
		t.Fatal(err)
	}
	refused(t, exitFailed, konto(t, "restore", backup, "--keys", keys[0]), "there is no konto in konto-data", "--data konto-data")
	r := konto(t, "restore", backup, "--keys", keys[0], "--data", defaultData)
	if r.status != exitDone || !strings.Contains(r.stderr, "a new konto was begun in "+datafolder.Absolute(defaultData)) {
		t.Errorf("exit %d: %s", r.status, r.stderr)
	}
	if again := konto(t, "restore", backup); again.status != exitDone || again.stderr != "" {
		t.Errorf("a konto that is there is restored without its name: exit %d: %s", again.status, again.stderr)
	}
}

// The read model cannot be written, as when the disk is full. A command that
// needs it says so; the others do their work.
func TestReadModelThatCannotBeWritten(t *testing.T) {
	folder := furnished(t)
	db, err := sqlitefile.OpenWriter(filepath.Join(folder, "read.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("CREATE TRIGGER full BEFORE UPDATE ON progress BEGIN SELECT RAISE(FAIL, 'no space is left'); END"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	must(t, "account", "open", "--data", folder, "--email", "bo@example.com")
	stuck, parties := []string{"the read model does not keep up with the log", "no space is left"}, 0
	commands := func() {
		refused(t, exitFailed, konto(t, "account", "list", "--data", folder), stuck...)
		refused(t, exitFailed, konto(t, "key", "issue", "--data", folder, "--client", "crm", "--scope", "/external/account/r"), stuck...)
		must(t, "account", "show", "--data", folder, "bo@example.com")
		// What cannot be shown again is shown all the same.
		added := konto(t, "third-party", "add", fmt.Sprint("crm-", parties), "--url", "https://crm.example.com/", "--data", folder)
		if parties++; !strings.Contains(added.stdout, "whsec_") || added.status != exitFailed {
			t.Errorf("add ended with %d and printed %q", added.status, added.stdout)
		}
		refused(t, exitFailed, result{added.status, "", added.stderr}, stuck...)
	}
	commands()
	_, url, _ := serve(t, folder)
	commands()
	if status, body := send(t, "GET", url+"/healthz", "", ""); status != 503 || !strings.Contains(body, `"name":"read-model","state":"retrying"`) {
		t.Errorf("health is %d %s", status, body)
	}
}

func TestVersionsThatAnAccountNeverHad(t *testing.T) {
	folder := furnished(t)
	id := mustJSON(t, "account", "show", "anna@example.com", "--data", folder)["id"].(string)
	for _, verb := range []string{"show", "history"} {
		refused(t, exitFailed, konto(t, "account", verb, "anna@example.com", "--at", "99", "--data", folder),
			"account "+id+" is at version 1, there is no version 99")
		must(t, "account", verb, "anna@example.com", "--at", "1", "--data", folder)
	}
}

func TestConsumersNamesThatAreRefused(t *testing.T) {
	folder := furnished(t)
	for _, name := range []string{"b.c", "Crm", "konto-mailer"} {
		refused(t, exitFailed, konto(t, "key", "issue", "--consumer", name, "--data", folder), "consumer: The name can have")
	}
}

func TestUnknownReferences(t *testing.T) {
	folder := furnished(t)
	for ref, says := range map[string]string{
		"nobody@example.com":                "there is no account nobody@example.com in " + folder,
		"50f3ac249f6aef294d000007":          "there is no account 50f3ac249f6aef294d000007",
		"client_01hxa3b4c5d6e7f8g9h0j1k2m3": "there is no account client_01hxa3b4c5d6e7f8g9h0j1k2m3",
		"anna":                              `"anna" is neither an account's id nor an email address`,
	} {
		for _, args := range [][]string{{"account", "show", ref}, {"account", "history", ref}, {"account", "facts", ref, "--verified"}, {"session", "open", "--account", ref}} {
			refused(t, exitFailed, konto(t, append(args, "--data", folder)...), says)
		}
	}
}

// A socket that a killed server left behind answers nobody.
func TestStaleSocket(t *testing.T) {
	folder := furnished(t)
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(folder, control.SocketName), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	left.Close()
	must(t, "account", "show", "anna@example.com", "--data", folder)
	server, _, _ := serve(t, folder)
	must(t, "account", "show", "anna@example.com", "--data", folder)
	socket := filepath.Join(folder, control.SocketName)
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket's mode: %v, %v", info, err)
	}
	server.stop()
	if !datafolder.Missing(socket) {
		t.Error("the server left its socket")
	}
}

func TestSocketRefusesWhatItDoesNotKnow(t *testing.T) {
	folder := furnished(t)
	serve(t, folder)
	for name, l := range map[string]*line{
		"unknown command": {data: folder, path: "account rename", command: struct{}{}},
		"unknown member":  {data: folder, path: "account list", command: struct{ Sorted bool }{true}},
		"a local command": {data: folder, path: "serve", command: struct{}{}},
	} {
		answered, err := ask(t.Context(), l, control.NewOutput(new(strings.Builder), false))
		if !answered || err == nil || !strings.Contains(err.Error(), "another version of konto") {
			t.Errorf("%s: %v, %v", name, answered, err)
		}
	}
}
