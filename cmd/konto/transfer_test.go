package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"konto/cmd/konto/control"
	"konto/cmd/konto/datafolder"
)

// moved is a folder in which everything has happened that has a command, and an
// account was erased.
func moved(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	script(t, folder)
	must(t, "third-party", "add", "stays", "--url", "https://stays.example.com/", "--data", folder)
	must(t, "account", "open", "--email", "gone@example.com", "--data", folder)
	must(t, "account", "erase", "gone@example.com", "--yes", "--data", folder)
	return folder
}

// shows is what a folder says of itself.
func shows(t *testing.T, folder string) string {
	t.Helper()
	var said strings.Builder
	for _, args := range []string{"account list", "key list", "session list", "third-party list", "events list"} {
		said.WriteString(must(t, append(strings.Fields(args), "--json", "--data", folder)...))
	}
	return said.String()
}

func TestLogGoesThroughAnExportUnchanged(t *testing.T) {
	t.Setenv("KONTO_MASTER_KEY", "")
	folder, dir := moved(t), t.TempDir()
	want := shows(t, folder)
	clear, sealed := filepath.Join(dir, "clear.ndjson"), filepath.Join(dir, "sealed.ndjson")
	if made := mustJSON(t, "export", clear, "--data", folder); !strings.Contains(made["warning"].(string), "password hashes") {
		t.Errorf("%v", made)
	}
	if made := mustJSON(t, "export", sealed, "--encrypted", "--data", folder); made["warning"] != nil {
		t.Errorf("%v", made)
	}
	imports := map[string]func(t *testing.T, to string) result{
		"clear": func(t *testing.T, to string) result { return konto(t, "import", clear, "--data", to) },
		"clear, piped": func(t *testing.T, to string) result {
			return kontoWith(t, must(t, "export", "-", "--data", folder), "import", "-", "--data", to)
		},
		"encrypted": func(t *testing.T, to string) result {
			copyTo(t, folder, to, "keys.db", "master.key")
			return konto(t, "import", sealed, "--data", to)
		},
	}
	for name, do := range imports {
		t.Run(name, func(t *testing.T) {
			to := t.TempDir()
			if r := do(t, to); r.status != exitDone {
				t.Fatal(r.stderr)
			}
			if got := shows(t, to); got != want {
				t.Errorf("the folders differ:\n%s\n%s", want, got)
			}
			was, is := openFolder(t, folder), openFolder(t, to)
			head := mustHead(t, was)
			if !reflect.DeepEqual(folds(t, was, head), folds(t, is, head)) {
				t.Error("the accounts differ")
			}
			if err := is.Log.CheckChain(t.Context(), nil); err != nil {
				t.Error(err)
			}
			idWas, _ := was.Log.ID(t.Context())
			idIs, _ := is.Log.ID(t.Context())
			if name == "encrypted" && !reflect.DeepEqual(records(t, was, head), records(t, is, head)) {
				t.Error("the records differ")
			}
			if bytes.Equal(idWas, idIs) != (name == "encrypted") {
				t.Errorf("the log was %x and is %x", idWas, idIs)
			}
			was.Close()
			is.Close()
			// The new log can be used: addresses are taken, and servers start.
			refused(t, exitFailed, konto(t, "account", "open", "--email", "ANNA@example.com", "--data", to), "already in use")
			must(t, "account", "open", "--email", "gone@example.com", "--data", to)
			server, _, _ := serve(t, to)
			must(t, "account", "facts", "anna@example.com", "--active-domains", "42", "--data", to)
			server.stop()
		})
	}
}

func TestTokensOutliveAnImportInClear(t *testing.T) {
	folder := furnished(t)
	token := mustJSON(t, "key", "issue", "--account", "anna@example.com", "--scope", "read:account", "--data", folder)["token"].(string)
	to := t.TempDir()
	if r := kontoWith(t, must(t, "export", "-", "--data", folder), "import", "-", "--data", to); r.status != exitDone {
		t.Fatal(r.stderr)
	}
	_, url, _ := serve(t, to)
	if status, body := send(t, "GET", url+"/v1/account", token, ""); status != 200 || !strings.Contains(body, "anna@example.com") {
		t.Errorf("%d %s", status, body)
	}
}

func TestImportsThatFailLeaveNothing(t *testing.T) {
	folder, dir := furnished(t), t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	clear := must(t, "export", "-", "--data", folder)
	sealed := must(t, "export", "-", "--encrypted", "--data", folder)
	good := write("good.ndjson", clear)
	for name, test := range map[string]struct{ file, says string }{
		"missing":       {filepath.Join(dir, "none"), "no such file"},
		"empty":         {write("empty", ""), "not an export"},
		"garbage":       {write("garbage", strings.Repeat("garbage\n", 100)), "not an export"},
		"one long line": {write("long", strings.Repeat("g", 17<<20)), "not an export"},
		"a backup":      {filepath.Join(folder, "log.db"), "not an export"},
		"newer":         {write("newer", `{"export":{"format":7}}`+"\n"), "newer konto"},
		"cut off":       {write("cut", clear[:len(clear)-20]), "cut off"},
		"changed":       {write("changed", strings.Replace(clear, "anna@", "anne@", 1)), "does not fit the lines before it"},
		"no keys":       {write("sealed", sealed), "put the keys.db of its log"},
	} {
		t.Run(name, func(t *testing.T) {
			to := t.TempDir()
			refused(t, exitFailed, konto(t, "import", test.file, "--data", to), "nothing was imported from "+test.file+": ", test.says)
			if left, err := filepath.Glob(filepath.Join(to, "*")); err != nil || len(left) > 1 || len(left) == 1 && filepath.Base(left[0]) != datafolder.HolderName {
				t.Errorf("%v is left, %v", left, err)
			}
			must(t, "import", good, "--data", to) // the folder is as good as new
		})
	}
	t.Run("standard input", func(t *testing.T) {
		refused(t, exitFailed, kontoWith(t, "garbage", "import", "-", "--data", t.TempDir()), "nothing was imported from standard input: not an export")
	})
	t.Run("other keys", func(t *testing.T) {
		other, to := furnished(t), t.TempDir()
		copyTo(t, other, to, "keys.db", "master.key")
		refused(t, exitFailed, konto(t, "import", filepath.Join(dir, "sealed"), "--data", to), "keys belong to another log")
		onlyFile(t, to, "keys.db", "keys.db-stamp", "konto.lock", "master.key")
	})
	t.Run("a folder with a log", func(t *testing.T) {
		refused(t, exitFailed, konto(t, "import", good, "--data", folder), "there is a log in")
		refused(t, exitFailed, konto(t, "import", filepath.Join(dir, "sealed"), "--data", folder), "there is a log in")
		if n := eventCount(t, folder); n != 1 {
			t.Errorf("%d events", n)
		}
	})
	t.Run("a folder with something else", func(t *testing.T) {
		to := t.TempDir()
		if err := os.WriteFile(filepath.Join(to, "notes.txt"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, exitFailed, konto(t, "import", good, "--data", to), "is not empty: notes.txt is in it")
	})
}

// interrupting is a meter that interrupts the command once it has come so far.
type interrupting struct {
	when      func(control.Progress) bool
	interrupt context.CancelFunc
}

func (m interrupting) Show(p control.Progress) {
	if m.when(p) {
		m.interrupt()
	}
}

func (interrupting) Clear() {}

// TestInterruptedExportLeavesNothing interrupts it where it begins to write, and
// where all is written that is to be checked yet.
func TestInterruptedExportLeavesNothing(t *testing.T) {
	h, to := openFolder(t, furnished(t)), t.TempDir()
	for name, when := range map[string]func(control.Progress) bool{
		"at its begin": func(p control.Progress) bool { return p.Done == 0 },
		"at its end":   func(p control.Progress) bool { return p.Done == p.Total },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			var said bytes.Buffer
			out := control.NewMeteredOutput(&said, false, interrupting{when, cancel})
			export := &exportCommand{File: filepath.Join(to, "x.ndjson")}
			if err := export.Run(ctx, &opened{Folder: h}, out); !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
			onlyFile(t, to)
		})
	}
}

// TestExportDeletesThePartOfAKilledOne: it may be in clear.
func TestExportDeletesThePartOfAKilledOne(t *testing.T) {
	folder, to := furnished(t), t.TempDir()
	file := filepath.Join(to, "x.ndjson")
	leave := func() {
		if err := os.WriteFile(file+".partial", []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	leave()
	must(t, "export", file, "--data", folder)
	onlyFile(t, to, "x.ndjson")
	leave()
	refused(t, exitFailed, konto(t, "export", file, "--data", folder), "exists already")
	onlyFile(t, to, "x.ndjson")
}
