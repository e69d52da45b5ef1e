package deliveries

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/sqlitefile"
)

func TestErasureIsOwedUntilItIsSentInPaywaysFormats(t *testing.T) {
	h := newHarness(t)
	var err error
	h.db, err = OpenFile(t.Context(), FileConfig{Path: h.path, Log: h.log, Keys: h.keys})
	h.must(err)
	party := ulid.Make()
	h.parties = append(h.parties, party)
	h.append(events.ThirdPartyStream(party), party, events.ThirdPartyAdded{Name: "payway", URL: "https://example.com", Format: events.FormatPayway})
	other := h.add("other")
	account := h.open()
	end := h.append(events.AccountStream(account), account, events.AccountErased{})
	expect := func(when string, want bool) {
		t.Helper()
		parties, err := h.ThirdParties(t.Context())
		h.must(err)
		got, err := OwesErasure(t.Context(), h.db, parties, account, eventstore.StreamHead{Version: 2, Position: end})
		if got != want || err != nil {
			t.Errorf("%s: owed: %v, %v", when, got, err)
		}
	}
	h.must(h.db.SetPosition(t.Context(), other, end))
	expect("not read yet", true)
	waits := Delivery{Account: account, Version: 1, Position: end - 1, Attempts: 1, Next: time.Now(), Since: time.Now()}
	h.must(h.db.Save(t.Context(), party, &waits, nil))
	h.must(h.db.SetPosition(t.Context(), party, end))
	expect("waiting for a retry", true)
	h.must(h.db.Save(t.Context(), party, &Delivery{Account: account, Version: 2, Position: end}, nil))
	expect("sent", false)
	h.must(h.db.DeleteAccount(t.Context(), account))
	expect("sent and deleted", false)
}

// The bytes of what was moved are overwritten. A move that fails is made again.
func TestErasuresOfEarlierBuildsAreMovedAndOverwritten(t *testing.T) {
	b := newStoreHarness(t)
	both, named, noticed := ulid.Make(), ulid.Make(), ulid.Make()
	_, err := b.sqlite.writer.Exec("INSERT INTO notice VALUES (?, 1000, CAST('ciphered id' AS BLOB)), (?, 2000, CAST('ciphered id' AS BLOB)); INSERT INTO called VALUES (?, CAST('ciphered names' AS BLOB)), (?, CAST('ciphered names' AS BLOB))",
		both[:], noticed[:], both[:], named[:])
	b.must(err)
	in := func() bool {
		database, err := os.ReadFile(b.config.Path)
		b.must(err)
		ahead, err := os.ReadFile(b.config.Path + "-wal")
		b.must(err)
		return bytes.Contains(append(database, ahead...), []byte("ciphered "))
	}
	failed := errors.New("disk full")
	move := func(context.Context, ulid.ULID, time.Time, []byte, []byte) error { return failed }
	if err := b.sqlite.MoveErasures(t.Context(), move); !errors.Is(err, failed) || !in() {
		t.Errorf("a move that failed: %v", err)
	}
	moved := map[ulid.ULID]string{}
	b.must(b.sqlite.MoveErasures(t.Context(), func(_ context.Context, account ulid.ULID, at time.Time, names, paywayID []byte) error {
		moved[account] = fmt.Sprintf("%d %s, %s", sqlitefile.Milliseconds(at), names, paywayID)
		return nil
	}))
	want := map[ulid.ULID]string{both: "1000 ciphered names, ciphered id", named: "0 ciphered names, ", noticed: "2000 , ciphered id"}
	if !maps.Equal(moved, want) || in() {
		t.Errorf("moved %v, not %v; still in the files: %v", moved, want, in())
	}
}
