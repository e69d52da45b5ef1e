package deliveries

import (
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
)

// stored is how many attempts the file has, shown or not.
func (b *storeHarness) stored() (n int) {
	b.t.Helper()
	if b.sqlite == nil {
		return b.count()
	}
	b.must(b.sqlite.writer.QueryRow("SELECT count(*) FROM attempt").Scan(&n))
	return n
}

// reached is the position that the file is bound at.
func (b *storeHarness) reached() (position uint64) {
	b.t.Helper()
	b.must(b.sqlite.writer.QueryRow("SELECT position FROM progress").Scan(&position))
	return position
}

// sweep is a transaction that adds no attempt.
func (b *storeHarness) sweep(party ulid.ULID) {
	b.t.Helper()
	b.must(b.SetPosition(b.t.Context(), party, 1))
}

func TestAttemptsAreDeletedAsSoonAsTheyAreTooOld(t *testing.T) {
	b := newStoreHarness(t, FileConfig{MaxAge: time.Hour})
	party := ulid.Make()
	b.sweep(party) // which finds that there are none
	for range 3 {
		b.save(b.result(party, b.happen(), OutcomeDelivered, ""))
		b.now = b.now.Add(10 * time.Minute)
	}
	b.now = b.now.Add(30 * time.Minute)
	for _, left := range []int{2, 1, 0} {
		b.sweep(party)
		if n := b.stored(); n != left+1 {
			t.Errorf("%d attempts are left, of which %d are not too old", n, left+1)
		}
		b.now = b.now.Add(time.Millisecond)
		b.sweep(party)
		if n := b.stored(); n != left {
			t.Errorf("%d attempts are left, want %d", n, left)
		}
		b.now = b.now.Add(10*time.Minute - time.Millisecond)
	}
}

// Once the oldest attempts were looked at, the file is not asked again before the
// next one is too old: here one that is made so behind its back.
func TestAttemptsAreNotLookedAtBeforeTheyCanBeTooOld(t *testing.T) {
	b := newStoreHarness(t, FileConfig{MaxAge: time.Hour})
	party := ulid.Make()
	b.save(b.result(party, b.happen(), OutcomeDelivered, ""))
	b.now = b.now.Add(30 * time.Minute)
	b.save(b.result(party, b.happen(), OutcomeDelivered, ""))
	b.now = b.now.Add(31 * time.Minute)
	b.sweep(party) // removes the first
	_, err := b.sqlite.writer.Exec("UPDATE attempt SET at = 1")
	b.must(err)
	b.sweep(party)
	if n := b.stored(); n != 1 {
		t.Errorf("%d attempts are left, the second was looked at too early", n)
	}
	b.reopen() // nothing is known
	b.sweep(party)
	if n := b.stored(); n != 0 {
		t.Errorf("%d attempts are left, which are too old", n)
	}
}

// Attempts of a clock that was ahead say nothing about those after them.
func TestAttemptsOfAWrongClockHideNoOthers(t *testing.T) {
	b := newStoreHarness(t, FileConfig{MaxAge: time.Hour})
	party := ulid.Make()
	right := b.now
	b.now = right.Add(24 * time.Hour)
	for range expireLimit {
		b.save(b.result(party, b.happen(), OutcomeDelivered, ""))
	}
	b.now = right
	for range 6 {
		b.save(b.result(party, b.happen(), OutcomeDelivered, ""))
	}
	b.now = right.Add(2 * time.Hour)
	for range 3 { // each looks at two more than expireLimit
		b.save(b.result(party, b.happen(), OutcomeDelivered, ""))
	}
	if n := b.stored(); n != expireLimit+3 {
		t.Errorf("%d attempts are left, want %d", n, expireLimit+3)
	}
}

// What a transaction cached is deleted when its commit fails.
func TestCacheIsEmptiedAfterAFailedCommit(t *testing.T) {
	b := newStoreHarness(t, FileConfig{MaxAge: time.Hour})
	party := ulid.Make()
	b.save(b.result(party, b.happen(), OutcomeDelivered, ""))
	b.now = b.now.Add(2 * time.Hour)
	e := b.happen()
	for _, text := range []string{
		"PRAGMA foreign_keys = ON",
		"CREATE TABLE parent (id INTEGER PRIMARY KEY)",
		"CREATE TABLE child (id INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)",
		"CREATE TRIGGER fails AFTER UPDATE ON progress BEGIN INSERT INTO child VALUES (1); END",
	} {
		_, err := b.sqlite.writer.Exec(text)
		b.must(err)
	}
	if err := b.store(t.Context(), b.result(party, e, OutcomeDelivered, "")); err == nil {
		t.Fatal("the commit did not fail")
	}
	if n := b.stored(); n != 1 {
		t.Fatalf("%d attempts are stored", n)
	}
	_, err := b.sqlite.writer.Exec("DROP TRIGGER fails")
	b.must(err)
	b.save(b.result(party, e, OutcomeDelivered, ""))
	if n := b.stored(); n != 1 {
		t.Errorf("%d attempts are left, one of them is too old", n)
	}
	if reached := b.reached(); reached != e.Position {
		t.Errorf("the file is bound at position %d, not %d", reached, e.Position)
	}
}

func TestFileStaysBoundAtTheHighestPosition(t *testing.T) {
	b := newStoreHarness(t)
	first, second, third := b.happen(), b.happen(), b.happen()
	read := func(to uint64) {
		t.Helper()
		b.must(b.SetPosition(t.Context(), ulid.Make(), to))
	}
	read(first.Position)
	b.reopen()
	read(first.Position) // so it is known
	read(third.Position)
	for _, known := range []bool{true, false} {
		read(second.Position)
		if b.reached() != third.Position {
			t.Errorf("where it was known is %v: the file is bound at position %d, not %d", known, b.reached(), third.Position)
		}
		b.reopen()
	}
}
