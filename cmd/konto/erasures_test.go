package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/erasure"
	"konto/eventstore/sqlitefile"
)

func TestLedgerThatGotShorterIsNotWrittenTo(t *testing.T) {
	l := newLeaving(t)
	must(t, l.in("account", "erase", "anna@example.com", "--yes")...)
	serve(t, l.folder)
	verifies(t, l.folder)
	if err := os.Remove(filepath.Join(l.folder, erasure.LedgerName)); err != nil {
		t.Fatal(err)
	}
	verifies(t, l.folder, erasure.LedgerName, "lines of it are gone")
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
		if err := os.WriteFile(filepath.Join(folder, erasure.LedgerName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r := konto(t, "account", "list", "--data", folder)
		if refused(t, exitFailed, r, erasure.LedgerName+" cannot be read; restore the file"); t.Failed() {
			t.Fatal(name)
		}
	}
}

// A line that is whole in itself may still say what its proof does not.
func TestVerifyHoldsTheLedgerAgainstItsProofs(t *testing.T) {
	folder := furnished(t)
	proof := mustJSON(t, "account", "erase", "anna@example.com", "--yes", "--data", folder)["proof"].(string)
	verifies(t, folder)
	path := filepath.Join(folder, erasure.LedgerName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines, _, err := erasure.ReadLedger(path)
	if err != nil || len(lines) != 1 {
		t.Fatal(lines, err)
	}
	own := lines[0]
	other, signature := own, strings.LastIndex(proof, ".")+1
	other.Account = ulid.Make()
	unsigned := own
	unsigned.Proof = proof[:signature] + strings.Repeat("A", len(proof)-signature)
	later := own
	later.Erased = own.Erased.Add(time.Second)
	for name, line := range map[string]erasure.Line{"another account's": other, "of another time": later, "not signed": unsigned} {
		text, err := line.Text()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(whole[:len(whole):len(whole)], text...), 0o600); err != nil {
			t.Fatal(err)
		}
		if verifies(t, folder, "line 2 of "+path); t.Failed() {
			t.Fatal(name)
		}
	}
}

// intended is a line of the ledger.
func intended(t *testing.T, account ulid.ULID) string {
	t.Helper()
	text, err := erasure.Line{Account: account, Intended: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}.Text()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What an earlier build kept of erased accounts in deliveries.db moves to erasures.db.
func TestErasuresOfAnEarlierBuild(t *testing.T) {
	l := &leaving{t: t, folder: filepath.Join(older(t, "erasures-1"), "data")}
	left := func() (n int) {
		t.Helper()
		db, err := sqlitefile.OpenReaders(filepath.Join(l.folder, "deliveries.db"), 1)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if err := db.QueryRow("SELECT (SELECT count(*) FROM notice) + (SELECT count(*) FROM called)").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := left(); n != 2 {
		t.Fatalf("%d rows were left by the earlier build", n)
	}
	h := l.open()
	rows, err := h.Erasures.Rows.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const id, paywayID = "01M8P09J29V6TGZJ3181J04NX6", "c0ffee0123456789abcdef42"
	at := time.Date(2026, 11, 30, 10, 34, 1, 0, time.UTC)
	row := rows[ulid.MustParse(id)]
	if want := []string{strings.ToLower(id), "anna@example.com", paywayID}; len(rows) != 1 || !row.Proven ||
		row.PaywayID != paywayID || !slices.Equal(row.Names, want) || !row.At.Truncate(time.Second).Equal(at) {
		t.Errorf("moved: %+v", rows)
	}
	if n := left(); n != 0 {
		t.Errorf("%d rows are in deliveries.db as well", n)
	}
	if done, err := h.Erasures.IsErased(t.Context(), ulid.MustParse(id)); !done || err != nil {
		t.Errorf("it is erased: %v, %v", done, err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	must(t, l.in("verify")...)
}

// Earlier builds wrote to the ledger that they were going to erase an account, and were killed.
func TestErasureThatAnEarlierBuildIntendedIsFinished(t *testing.T) {
	l := newLeaving(t)
	if err := os.WriteFile(filepath.Join(l.folder, erasure.LedgerName), []byte(intended(t, l.id)), 0o600); err != nil {
		t.Fatal(err)
	}
	l.isGone()
}

// An erasure that the earlier build began again is not done because of its first proof.
func TestErasureThatAnEarlierBuildIntendedAgainIsFinished(t *testing.T) {
	l := newLeaving(t)
	first := mustJSON(t, l.in("account", "erase", "anna@example.com", "--yes")...)["proof"].(string)
	path := filepath.Join(l.folder, erasure.LedgerName)
	whole, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, append(whole, intended(t, l.id)...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	l.isGone()
	if again := mustJSON(t, l.in("account", "erase", l.id.String(), "--yes")...)["proof"]; again == first {
		t.Error("it has the proof of the erasure before")
	}
}
