package transfer_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"konto/events"
	"konto/eventstore"
)

func TestEveryEventIsExportedAndImported(t *testing.T) {
	for name, test := range map[string]struct {
		from, to func(t *testing.T) place
	}{
		"SQLite to memory": {inSQLite, inMemory},
		"memory to SQLite": {inMemory, inSQLite},
		"SQLite to SQLite": {inSQLite, inSQLite},
	} {
		for _, encrypted := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, encrypted %v", name, encrypted), func(t *testing.T) {
				from, to := test.from(t), test.to(t)
				_, dead := fillWithEverything(t, from)
				if encrypted { // which is for the same keys
					to = newPlace(t, to.log, from.keys)
				}
				if err := to.take(t.Context(), from.export(t, encrypted)); err != nil {
					t.Fatal(err)
				}
				want, got := all(t, from), all(t, to)
				if len(want) < 40 || !reflect.DeepEqual(got, want) {
					t.Errorf("the events differ: %d instead of %d", len(got), len(want))
				}
				for _, stream := range dead {
					if _, err := to.keys.Create(t.Context(), stream); !errors.Is(err, eventstore.ErrDestroyed) {
						t.Errorf("%s can be written to again: %v", stream, err)
					}
				}
				held := holders(t, to)
				if held[events.EmailClaim("anna@example.com")] == "" {
					t.Error("the account that lives holds no claim")
				}
				for _, gone := range []string{"bo@example.com", "eva@example.com"} {
					if held[events.EmailClaim(gone)] != "" {
						t.Errorf("%s is still held", gone)
					}
				}
				if encrypted {
					expectSameRecords(t, from, to)
				}
			})
		}
	}
}

func expectSameRecords(t *testing.T, from, to place) {
	t.Helper()
	chains := [2][sha256.Size]byte{}
	for i, p := range []place{from, to} {
		records, err := p.log.ReadAll(t.Context(), 0, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			chains[i] = eventstore.ChainHash(chains[i], r)
		}
	}
	if chains[0] != chains[1] {
		t.Error("the records are others")
	}
}

func TestExportOfTheTestsHasEveryEventType(t *testing.T) {
	from := inMemory(t)
	types, _ := fillWithEverything(t, from)
	text := string(from.export(t, false))
	for name := range types {
		if !strings.Contains(text, `"type":"`+name+`"`) {
			t.Errorf("no %s in the export", name)
		}
	}
}

func TestEncryptedExportContainsNothingInClear(t *testing.T) {
	from := inMemory(t)
	fillWithEverything(t, from)
	const address = "anna@example.com"
	if sealed := from.export(t, true); bytes.Contains(sealed, []byte(address)) || bytes.Contains(sealed, []byte("activeDomains")) {
		t.Error("an encrypted export can be read")
	}
	if !bytes.Contains(from.export(t, false), []byte(address)) {
		t.Error("an export in clear cannot")
	}
}

func TestEmptyLogIsExportedAndImported(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		if err := inMemory(t).take(t.Context(), inMemory(t).export(t, encrypted)); err != nil {
			t.Errorf("encrypted %v: %v", encrypted, err)
		}
	}
}

// TestMoreThanAPageIsExportedAndImported needs more than one page of events and of claims.
func TestMoreThanAPageIsExportedAndImported(t *testing.T) {
	from, to := inMemory(t), inSQLite(t)
	for i := range 2300 {
		opened := fmt.Appendf(nil, `{"email":"a%d@example.com","paywayId":"%024x"}`, i, i)
		from.put(t, newStream(events.CategoryAccount), 1, events.TypeAccountOpened, opened)
	}
	if err := to.take(t.Context(), from.export(t, false)); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(all(t, to), all(t, from)) {
		t.Error("the events differ")
	}
	for _, i := range []int{0, 999, 1000, 2299} {
		want, _ := from.store.Holder(t.Context(), events.EmailClaim(fmt.Sprintf("a%d@example.com", i)))
		if got, err := to.store.Holder(t.Context(), events.EmailClaim(fmt.Sprintf("a%d@example.com", i))); err != nil || got != want || got == "" {
			t.Errorf("account %d: %q holds it, not %q, %v", i, got, want, err)
		}
	}
}
