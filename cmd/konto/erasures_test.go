package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
)

func ledgerOf(t *testing.T, folder string) *erasures {
	t.Helper()
	l, err := openErasures(folder)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLedgerOfErasuresKeepsWhatItWasTold(t *testing.T) {
	folder := t.TempDir()
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	a, b := ulid.Make(), ulid.Make()
	l := ledgerOf(t, folder)
	for _, line := range []erasureLine{{Account: a, Intended: at}, {Account: b, Intended: at}, {Account: a, Erased: at, Proof: "p"}} {
		if err := l.add(line); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(filepath.Join(folder, erasuresName))
	want := regexp.MustCompile(`^{"account":"` + a.String() + `","intended":"2026-11-22T10:00:00Z","sum":"[0-9a-f]{16}"}
{"account":"` + b.String() + `","intended":"2026-11-22T10:00:00Z","sum":"[0-9a-f]{16}"}
{"account":"` + a.String() + `","erased":"2026-11-22T10:00:00Z","proof":"p","sum":"[0-9a-f]{16}"}
$`)
	if err != nil || !want.Match(text) {
		t.Errorf("the file holds %s, %v", text, err)
	}
	for name, l := range map[string]*erasures{"written": l, "read": ledgerOf(t, folder)} {
		if all := l.all(); len(all) != 2 || all[0] != a || all[1] != b {
			t.Errorf("%s: %v", name, all)
		}
		if e, ok := l.of(a); !ok || e.Proof != "p" || e.At != at {
			t.Errorf("%s: %v", name, e)
		}
		if e, ok := l.of(b); !ok || e.Proof != "" {
			t.Errorf("%s: %v", name, e)
		}
	}
	if info, err := os.Stat(filepath.Join(folder, erasuresName)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v, %v", info.Mode(), err)
	}
}

// intended is a line of the ledger.
func intended(t *testing.T, account ulid.ULID) string {
	t.Helper()
	text, err := erasureLine{Account: account, Intended: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}.text()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A crash may leave any bytes at the end, and only there.
func TestTornEndOfTheLedgerIsOverwritten(t *testing.T) {
	whole := intended(t, ulid.Make())
	for name, torn := range map[string]string{
		"half a line": whole[:30], "a line without its end": whole[:len(whole)-1], "zeros": strings.Repeat("\x00", 500), "zeros and an end": "\x00\x00\n",
	} {
		folder := t.TempDir()
		path := filepath.Join(folder, erasuresName)
		if err := os.WriteFile(path, []byte(whole+torn), 0o600); err != nil {
			t.Fatal(err)
		}
		l := ledgerOf(t, folder)
		if n := len(l.all()); n != 1 {
			t.Errorf("%s: %d accounts", name, n)
		}
		next := ulid.Make()
		if err := l.add(erasureLine{Account: next, Intended: now()}); err != nil {
			t.Fatal(err)
		}
		if all := ledgerOf(t, folder).all(); len(all) != 2 || all[1] != next {
			t.Errorf("%s: then %v", name, all)
		}
		if text, err := os.ReadFile(path); err != nil || strings.Count(string(text), "\n") != 2 || !strings.HasSuffix(string(text), "}\n") {
			t.Errorf("%s: the file holds %q, %v", name, text, err)
		}
	}
}

func TestLedgerThatGotShorterIsNotWrittenTo(t *testing.T) {
	l := newLeaving(t)
	must(t, l.in("account", "erase", "anna@example.com", "--yes")...)
	serve(t, l.folder)
	verifies(t, l.folder)
	if err := os.Remove(filepath.Join(l.folder, erasuresName)); err != nil {
		t.Fatal(err)
	}
	verifies(t, l.folder, erasuresName, "lines of it are gone")
	refused(t, exitFailed, konto(t, l.in("account", "erase", "other@example.com", "--yes")...), "lines of it are gone")
	must(t, l.in("account", "show", "other@example.com")...)
}

func TestDamagedLedgerOfErasuresKeepsKontoFromStarting(t *testing.T) {
	folder := furnished(t)
	whole := intended(t, ulid.Make())
	for name, text := range map[string]string{
		"in its midst": whole + "{}\n" + whole, "at its beginning": "\x00\n" + whole, "a newer konto's": `{"account":"x","new":1}` + "\n" + whole,
		"another's sum": strings.Replace(whole, `"01`, `"00`, 1), "no sum": `{"account":"` + ulid.Make().String() + `","intended":"2026-11-22T10:00:00Z"}` + "\n",
	} {
		if err := os.WriteFile(filepath.Join(folder, erasuresName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r := konto(t, "account", "list", "--data", folder)
		if refused(t, exitFailed, r, erasuresName+" cannot be read; restore the file"); t.Failed() {
			t.Fatal(name)
		}
	}
}

// Whichever byte of a line is another, nobody is erased for it, and nobody is not.
func TestFlippedByteInTheLedgerIsFound(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, erasuresName)
	one, two := intended(t, ulid.Make()), intended(t, ulid.Make())
	for at := range len(one+two) - 1 {
		text := []byte(one + two)
		text[at] ^= 1
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		number := 1 + at/len(one)
		if _, err := openErasures(folder); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("line %d of %s ", number, path)) {
			t.Errorf("byte %d, of line %d: %v", at, number, err)
		}
	}
}

// A line that is whole in itself may still say what its proof does not.
func TestVerifyHoldsTheLedgerAgainstItsProofs(t *testing.T) {
	folder := furnished(t)
	proof := mustJSON(t, "account", "erase", "anna@example.com", "--yes", "--data", folder)["proof"].(string)
	verifies(t, folder)
	path := filepath.Join(folder, erasuresName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var own erasureLine
	if _, err := readErasures(path, func(_ int, l erasureLine) error { own = l; return nil }); err != nil {
		t.Fatal(err)
	}
	other, signature := own, strings.LastIndex(proof, ".")+1
	other.Account = ulid.Make()
	unsigned := own
	unsigned.Proof = proof[:signature] + strings.Repeat("A", len(proof)-signature)
	later := own
	later.Erased = own.Erased.Add(time.Second)
	for name, line := range map[string]erasureLine{"another account's": other, "of another time": later, "not signed": unsigned} {
		text, err := line.text()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(whole[:len(whole):len(whole)], text...), 0o600); err != nil {
			t.Fatal(err)
		}
		if verifies(t, folder, "line 3 of "+path); t.Failed() {
			t.Fatal(name)
		}
	}
}
