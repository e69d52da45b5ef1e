package deliveries

import (
	"bytes"
	"context"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

const noticed = "c0ffee0123456789abcdef42"

func TestNoticeIsKeptUntilNobodyNeedsIt(t *testing.T) {
	b := newStoreHarness(t)
	account, other := ulid.Make(), ulid.Make()
	b.must(b.KeepNotice(t.Context(), account, noticed))
	b.must(b.KeepNotice(t.Context(), account, noticed))
	b.must(b.KeepNotice(t.Context(), other, "ab"))
	b.reopen()
	answer := func(which ulid.ULID) func(context.Context, ulid.ULID) (bool, error) {
		return func(_ context.Context, id ulid.ULID) (bool, error) { return id == which, nil }
	}
	b.must(b.DropNotices(t.Context(), answer(account)))
	if got, ok, err := b.Notice(t.Context(), account); got != noticed || !ok || err != nil {
		t.Errorf("needed, it is %q, %v, %v", got, ok, err)
	}
	if _, ok, err := b.Notice(t.Context(), other); ok || err != nil {
		t.Errorf("not needed, it is there: %v, %v", ok, err)
	}
	b.must(b.DropNotices(t.Context(), answer(ulid.Zero)))
	if _, ok, err := b.Notice(t.Context(), account); ok || err != nil {
		t.Errorf("not needed any more, it is there: %v, %v", ok, err)
	}
}

func TestNoticeIsDeletedWhenItIsTooOld(t *testing.T) {
	b := newStoreHarness(t)
	account := ulid.Make()
	b.must(b.KeepNotice(t.Context(), account, noticed))
	always := func(context.Context, ulid.ULID) (bool, error) { return true, nil }
	for _, left := range []bool{true, false} {
		b.now = b.now.Add(40*time.Hour - time.Second)
		if !left {
			b.now = b.now.Add(2 * time.Second)
		}
		b.must(b.DropNotices(t.Context(), always))
		if _, ok, err := b.Notice(t.Context(), account); ok != left || err != nil {
			t.Errorf("at %s it is there: %v, %v", b.now, ok, err)
		}
	}
}

// The Payway id is sealed, although not with the account's key, and its bytes are overwritten
// when it is deleted.
func TestNoticeIsSealedAndOverwritten(t *testing.T) {
	b := newStoreHarness(t)
	b.must(b.KeepNotice(t.Context(), ulid.Make(), noticed))
	var sealed []byte
	b.must(b.readers.QueryRow("SELECT content FROM notice").Scan(&sealed))
	in := func(text []byte) bool {
		for _, file := range []string{b.config.Path, b.config.Path + "-wal"} {
			content, err := os.ReadFile(file)
			b.must(err)
			if bytes.Contains(content, text) {
				return true
			}
		}
		return false
	}
	if in([]byte(noticed)) || !in(sealed) {
		t.Error("the notice is in clear, or not found at all")
	}
	b.must(b.DropNotices(t.Context(), func(context.Context, ulid.ULID) (bool, error) { return false, nil }))
	if in(sealed) {
		t.Error("a deleted notice is still in the files")
	}
}

func TestNoticeIsNeededUntilTheErasureIsSentInPaywaysFormats(t *testing.T) {
	h := newHarness(t)
	var err error
	h.db, err = OpenStore(t.Context(), StoreConfig{Path: h.path, Log: h.log, Keys: h.keys})
	h.must(err)
	d := &Deliveries{cfg: Config{Store: h.store, DB: h.db, Parties: h}}
	expect := func(when string, want bool, account ulid.ULID) {
		t.Helper()
		if got, err := d.needsNotice(t.Context(), account); got != want || err != nil {
			t.Errorf("%s: needed: %v, %v", when, got, err)
		}
	}
	party := ulid.Make()
	h.parties = append(h.parties, party)
	h.append(events.ThirdPartyStream(party), party, events.ThirdPartyAdded{Name: "payway", URL: "https://example.com", Format: events.FormatPayway})
	other := h.add("other")
	account := h.open()
	expect("not erased yet", true, account)
	end := h.append(events.AccountStream(account), account, events.AccountErased{})
	h.must(h.db.SetPosition(t.Context(), other, end))
	expect("not read yet", true, account)
	waits := Delivery{Account: account, Version: 1, Position: end - 1, Attempts: 1, Next: time.Now(), Since: time.Now()}
	h.must(h.db.Save(t.Context(), party, &waits, nil))
	h.must(h.db.SetPosition(t.Context(), party, end))
	expect("waiting for a retry", true, account)
	h.must(h.db.Save(t.Context(), party, &Delivery{Account: account, Version: 2, Position: end}, nil))
	expect("sent", false, account)
	h.must(h.db.DeleteAccount(t.Context(), account))
	expect("sent and deleted", false, account)
	expect("of an account that there never was", false, ulid.Make())
}

func TestNamesAreKeptUntilTheyAreDeleted(t *testing.T) {
	b := newStoreHarness(t)
	account, other := ulid.Make(), ulid.Make()
	b.must(b.KeepNames(t.Context(), account, []string{"old"}))
	b.must(b.KeepNames(t.Context(), account, []string{"anna@example.com", "01hxa3"}))
	b.must(b.KeepNames(t.Context(), other, []string{"bo@example.com"}))
	b.reopen()
	b.must(b.DropNames(t.Context(), other))
	b.must(b.DropNames(t.Context(), other))
	got, err := b.Names(t.Context())
	b.must(err)
	if want := map[ulid.ULID][]string{account: {"anna@example.com", "01hxa3"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Names are sealed, and their bytes are overwritten when they are deleted.
func TestNamesAreSealedAndOverwritten(t *testing.T) {
	b := newStoreHarness(t)
	account := ulid.Make()
	b.must(b.KeepNames(t.Context(), account, []string{"anna@example.com"}))
	var sealed []byte
	b.must(b.readers.QueryRow("SELECT content FROM called").Scan(&sealed))
	in := func(text []byte) bool {
		database, err := os.ReadFile(b.config.Path)
		b.must(err)
		ahead, err := os.ReadFile(b.config.Path + "-wal")
		b.must(err)
		return bytes.Contains(append(database, ahead...), text)
	}
	if in([]byte("anna@")) || !in(sealed) {
		t.Error("the names are in clear, or not found at all")
	}
	b.must(b.DropNames(t.Context(), account))
	if in(sealed) {
		t.Error("deleted names are still in the files")
	}
}
