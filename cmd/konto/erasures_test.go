package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/datafolder"
)

func TestLedgerThatGotShorterIsNotWrittenTo(t *testing.T) {
	l := newLeaving(t)
	must(t, l.in("account", "erase", "anna@example.com", "--yes")...)
	serve(t, l.folder)
	verifies(t, l.folder)
	if err := os.Remove(filepath.Join(l.folder, datafolder.ErasuresName)); err != nil {
		t.Fatal(err)
	}
	verifies(t, l.folder, datafolder.ErasuresName, "lines of it are gone")
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
		if err := os.WriteFile(filepath.Join(folder, datafolder.ErasuresName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r := konto(t, "account", "list", "--data", folder)
		if refused(t, exitFailed, r, datafolder.ErasuresName+" cannot be read; restore the file"); t.Failed() {
			t.Fatal(name)
		}
	}
}

// A line that is whole in itself may still say what its proof does not.
func TestVerifyHoldsTheLedgerAgainstItsProofs(t *testing.T) {
	folder := furnished(t)
	proof := mustJSON(t, "account", "erase", "anna@example.com", "--yes", "--data", folder)["proof"].(string)
	verifies(t, folder)
	path := filepath.Join(folder, datafolder.ErasuresName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var own datafolder.ErasureLine
	if _, err := datafolder.ReadErasures(path, func(_ int, l datafolder.ErasureLine) error { own = l; return nil }); err != nil {
		t.Fatal(err)
	}
	other, signature := own, strings.LastIndex(proof, ".")+1
	other.Account = ulid.Make()
	unsigned := own
	unsigned.Proof = proof[:signature] + strings.Repeat("A", len(proof)-signature)
	later := own
	later.Erased = own.Erased.Add(time.Second)
	for name, line := range map[string]datafolder.ErasureLine{"another account's": other, "of another time": later, "not signed": unsigned} {
		text, err := line.Text()
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

// intended is a line of the ledger.
func intended(t *testing.T, account ulid.ULID) string {
	t.Helper()
	text, err := datafolder.ErasureLine{Account: account, Intended: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}.Text()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
