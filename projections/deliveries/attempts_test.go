package deliveries

import (
	"bytes"
	"context"
	"crypto/cipher"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
)

func testFiltersOfTheDeliveryLog(t *testing.T, open storeOpener) {
	b := open(t)
	one, two := ulid.Make(), ulid.Make()
	anna, eva := b.happen(), b.happen()
	add := func(party ulid.ULID, e events.Event, outcome, name string) {
		s := b.result(party, e, outcome, name)
		b.save(s)
	}
	add(one, anna, OutcomeRetrying, "a")
	add(two, anna, OutcomeDelivered, "b")
	add(one, eva, OutcomeFailed, "c")
	add(one, anna, OutcomeDelivered, "d")
	add(two, eva, OutcomeAborted, "e")
	for want, f := range map[string]Filter{
		"abcde": {},
		"de":    {Limit: 2},
		"acd":   {Party: one},
		"cd":    {Party: one, Limit: 2},
		"abd":   {Account: account(anna)},
		"ad":    {Account: account(anna), Party: one},
		"bd":    {Outcome: OutcomeDelivered},
		"d":     {Outcome: OutcomeDelivered, Party: one, Account: account(anna)},
		"abd ":  {Event: anna.ID},
		"e":     {Event: eva.ID, Party: two},
		"":      {Party: ulid.Make()},
	} {
		var got strings.Builder
		for _, a := range b.attempts(f) {
			got.WriteString(a.Excerpt)
		}
		if got.String() != strings.TrimSpace(want) {
			t.Errorf("%+v found %q, want %q", f, got.String(), want)
		}
	}
	all := b.attempts(Filter{})
	older := b.attempts(Filter{Before: all[3].ID, Limit: 2})
	if len(older) != 2 || older[0].Excerpt != "b" || older[1].Excerpt != "c" {
		t.Errorf("before the fourth: %+v", older)
	}
	if older := b.attempts(Filter{Before: all[3].ID, Party: one}); len(older) != 2 || older[0].Excerpt != "a" {
		t.Errorf("before the fourth, of one third party: %+v", older)
	}
}

func testDeliveryLogIsBounded(t *testing.T, open storeOpener) {
	for _, bound := range []int{1, 7, 300} {
		b := open(t, FileConfig{MaxAttempts: bound})
		busy, quiet := ulid.Make(), ulid.Make()
		e := b.happen()
		b.save(b.result(quiet, e, OutcomeDelivered, ""))
		for n := range 2*bound + 5 {
			s := b.result(busy, e, OutcomeRetrying, "")
			s.Attempt.Number = n + 1
			b.save(s)
			found := b.attempts(Filter{Party: busy, Limit: 10 * bound})
			if len(found) > bound || found[len(found)-1].Number != n+1 {
				t.Fatalf("bound %d: %d attempts, the last one is %d of %d", bound, len(found), found[len(found)-1].Number, n+1)
			}
			if n%50 == 49 {
				b.reopen() // a new process counts nothing twice
			}
		}
		if found := b.attempts(Filter{Party: busy, Limit: 10 * bound}); len(found) < bound-bound/100-1 || len(found) == 0 {
			t.Errorf("bound %d: only %d attempts are left", bound, len(found))
		}
		if len(b.attempts(Filter{Party: quiet})) != 1 {
			t.Errorf("bound %d: another third party's attempt is gone", bound)
		}
	}
}

func testOldAttemptsAreNotShownAndThenDeleted(t *testing.T, open storeOpener) {
	b := open(t, FileConfig{MaxAge: time.Hour})
	party := ulid.Make()
	const old = 50
	var forgotten []events.Event
	for range old {
		e := b.happen()
		forgotten = append(forgotten, e)
		b.save(b.result(party, e, OutcomeDelivered, ""))
	}
	b.now = b.now.Add(time.Hour)
	if got := b.attempts(Filter{}); len(got) != old {
		t.Errorf("%d attempts after an hour", len(got))
	}
	b.now = b.now.Add(time.Millisecond)
	if got := b.attempts(Filter{}); len(got) != 0 {
		t.Errorf("%d attempts are shown that are too old", len(got))
	}
	if b.stored() != old {
		t.Fatalf("%d attempts are stored", b.stored())
	}
	for range 4 {
		b.save(b.result(party, b.happen(), OutcomeDelivered, ""))
	}
	if n := b.stored(); n != 4 {
		t.Errorf("%d attempts are stored, 4 are not too old", n)
	}
	if b.delivery(party, account(forgotten[0])).Delivered != forgotten[0].Position {
		t.Error("what was delivered was deleted with the attempt")
	}
}

func TestExcerptsAreSealed(t *testing.T) {
	b := newStoreHarness(t)
	party, e := ulid.Make(), b.happen()
	const secret = "canary: anna@example.com is unknown here"
	b.save(b.result(party, e, OutcomeFailed, secret))
	if got := b.attempts(Filter{}); len(got) != 1 || got[0].Excerpt != secret {
		t.Fatalf("%+v", got)
	}
	id := account(e)
	if !bytes.Contains(b.file(), id[:]) {
		t.Fatal("the attempt is in none of the files looked at")
	}
	if bytes.Contains(b.file(), []byte("canary")) {
		t.Error("the excerpt is in clear")
	}
}

func TestExcerptsMovedToAnotherRowAreUnreadable(t *testing.T) {
	for name, other := range map[string]func(a *Attempt){
		"event":  func(a *Attempt) { a.Event = ulid.Make() },
		"number": func(a *Attempt) { a.Number++ },
		"time":   func(a *Attempt) { a.At = a.At.Add(time.Second) },
	} {
		b := newStoreHarness(t)
		s := b.result(ulid.Make(), b.happen(), OutcomeFailed, "first")
		b.save(s)
		s.Attempt.Excerpt = "second"
		other(&s.Attempt)
		b.save(s)
		_, err := b.sqlite.writer.Exec("UPDATE attempt SET excerpt = (SELECT excerpt FROM attempt WHERE id = 1) WHERE id = 2")
		b.must(err)
		if got := b.attempts(Filter{}); len(got) != 2 || got[0].Excerpt != "first" || got[1].Excerpt != Unreadable {
			t.Errorf("another %s: %+v", name, got)
		}
	}
}

// forgetful is a keyring without the keys of some streams.
type forgetful struct {
	eventstore.Keys
	lost []events.Stream
}

func (f forgetful) Cipher(ctx context.Context, stream events.Stream) (cipher.AEAD, error) {
	if slices.Contains(f.lost, stream) {
		return nil, eventstore.ErrNoKey
	}
	return f.Keys.Cipher(ctx, stream)
}

func testExcerptsEndWithTheKeyOfTheirAccount(t *testing.T, open storeOpener) {
	b := open(t)
	party, erased, other := ulid.Make(), b.happen(), b.happen()
	b.save(b.result(party, erased, OutcomeFailed, "no such user"))
	b.save(b.result(party, other, OutcomeDelivered, "thanks"))
	b.config.Keys = forgetful{b.keys, []events.Stream{erased.Stream}}
	b.reopen()
	s := b.result(party, erased, OutcomeDelivered, "thanks for its end")
	b.save(s)
	got := b.attempts(Filter{})
	if len(got) != 3 || got[0].Excerpt != "" || got[1].Excerpt != "thanks" || got[2].Excerpt != "" {
		t.Errorf("%+v", got)
	}
}
