package erasure

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
)

func ledgerOf(t *testing.T, folder string) *Ledger {
	t.Helper()
	l, err := openLedger(folder)
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
	for _, line := range []Line{{Account: a, Intended: at}, {Account: b, Intended: at}, {Account: a, Erased: at, Proof: "p"}} {
		if err := l.add(t.Context(), line); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(filepath.Join(folder, LedgerName))
	want := regexp.MustCompile(`^{"account":"` + a.String() + `","intended":"2026-11-22T10:00:00Z","sum":"[0-9a-f]{16}"}
{"account":"` + b.String() + `","intended":"2026-11-22T10:00:00Z","sum":"[0-9a-f]{16}"}
{"account":"` + a.String() + `","erased":"2026-11-22T10:00:00Z","proof":"p","sum":"[0-9a-f]{16}"}
$`)
	if err != nil || !want.Match(text) {
		t.Errorf("the file holds %s, %v", text, err)
	}
	for name, l := range map[string]*Ledger{"written": l, "read": ledgerOf(t, folder)} {
		if all := l.all(); len(all) != 2 || !slices.Contains(all, a) || !slices.Contains(all, b) {
			t.Errorf("%s: %v", name, all)
		}
		if e, ok := l.Of(a); !ok || e.Proof != "p" || e.Erased != at {
			t.Errorf("%s: %v", name, e)
		}
		if e, ok := l.Of(b); !ok || e.Proof != "" {
			t.Errorf("%s: %v", name, e)
		}
	}
	if info, err := os.Stat(filepath.Join(folder, LedgerName)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v, %v", info.Mode(), err)
	}
}

// intendedLine is a line of the ledger.
func intendedLine(t *testing.T, account ulid.ULID) string {
	t.Helper()
	text, err := Line{Account: account, Intended: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}.Text()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A crash may leave any bytes at the end, and only there.
func TestTornEndOfTheLedgerIsOverwritten(t *testing.T) {
	whole := intendedLine(t, ulid.Make())
	for name, torn := range map[string]string{
		"half a line": whole[:30], "a line without its end": whole[:len(whole)-1], "zeros": strings.Repeat("\x00", 500), "zeros and an end": "\x00\x00\n",
	} {
		folder := t.TempDir()
		path := filepath.Join(folder, LedgerName)
		if err := os.WriteFile(path, []byte(whole+torn), 0o600); err != nil {
			t.Fatal(err)
		}
		l := ledgerOf(t, folder)
		if n := len(l.all()); n != 1 {
			t.Errorf("%s: %d accounts", name, n)
		}
		next := ulid.Make()
		if err := l.add(t.Context(), Line{Account: next, Intended: now()}); err != nil {
			t.Fatal(err)
		}
		if all := ledgerOf(t, folder).all(); len(all) != 2 || !slices.Contains(all, next) {
			t.Errorf("%s: then %v", name, all)
		}
		if text, err := os.ReadFile(path); err != nil || strings.Count(string(text), "\n") != 2 || !strings.HasSuffix(string(text), "}\n") {
			t.Errorf("%s: the file holds %q, %v", name, text, err)
		}
	}
}

// The lines that are gone must not become a hole.
func TestLineIsNotAddedToALedgerThatIsGone(t *testing.T) {
	folder := t.TempDir()
	l := ledgerOf(t, folder)
	if err := l.add(t.Context(), Line{Account: ulid.Make(), Intended: now()}); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(folder, LedgerName)); err != nil {
		t.Fatal(err)
	}
	if err := l.add(t.Context(), Line{Account: ulid.Make(), Intended: now()}); err == nil {
		t.Error("it was added")
	}
	if all := ledgerOf(t, folder).all(); len(all) > 0 {
		t.Errorf("the file has %v", all)
	}
}

// Whichever byte of a line is another, nobody is erased for it, and nobody is not.
func TestFlippedByteInTheLedgerIsFound(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, LedgerName)
	one, two := intendedLine(t, ulid.Make()), intendedLine(t, ulid.Make())
	for at := range len(one+two) - 1 {
		text := []byte(one + two)
		text[at] ^= 1
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		number := 1 + at/len(one)
		if _, err := openLedger(folder); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("line %d of %s ", number, path)) {
			t.Errorf("byte %d, of line %d: %v", at, number, err)
		}
	}
}
