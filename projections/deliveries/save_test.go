package deliveries

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

func testSavedResultsAreThereAfterReopening(t *testing.T, open storeOpener) {
	b := open(t)
	party := ulid.Make()
	e, late := b.happen(), b.happen()
	done := b.result(party, e, OutcomeDelivered, "thanks")
	trouble := b.result(party, late, OutcomeRetrying, "busy")
	trouble.Delivery.Behind = true
	b.save(done)
	b.save(trouble)
	b.must(b.SetPosition(t.Context(), party, late.Position))
	b.reopen()

	done.Delivery.Delivered, done.Delivery.DeliveredAt = e.Position, b.now.Add(time.Millisecond)
	for want, got := range map[*Delivery]Delivery{&done.Delivery: b.delivery(party, account(e)), &trouble.Delivery: b.delivery(party, account(late))} {
		if got != *want {
			t.Errorf("row %+v\nwant %+v", got, *want)
		}
	}
	if got := b.waiting(party); !slices.Equal(got, []Delivery{trouble.Delivery}) {
		t.Errorf("waiting are %+v", got)
	}
	got, want := b.attempts(Filter{}), []Attempt{done.Attempt, trouble.Attempt}
	for i := range got {
		got[i].ID = 0 // the store gave it
	}
	if !slices.Equal(got, want) {
		t.Errorf("attempts %+v\nwant     %+v", got, want)
	}
	if got := b.position(party); got != int(late.Position) {
		t.Errorf("position %d", got)
	}
	if got := b.position(ulid.Make()); got != -1 {
		t.Errorf("a third party that was never heard of is at %d", got)
	}
}

// What a method has stored is in the files when the process ends.
func TestSavedResultsSurviveACrash(t *testing.T) {
	b := newStoreHarness(t)
	party, e := ulid.Make(), b.happen()
	b.save(b.result(party, e, OutcomeDelivered, ""))
	b.must(b.SetPosition(t.Context(), party, e.Position))

	crashed := filepath.Join(t.TempDir(), "deliveries.db")
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(b.config.Path + suffix)
		b.must(err)
		b.must(os.WriteFile(crashed+suffix, content, 0o600))
	}
	config := b.config
	config.Path = crashed
	after, err := OpenFile(t.Context(), config)
	b.must(err)
	defer after.Close()
	if position, ok, err := after.Position(t.Context(), party); position != e.Position || !ok || err != nil {
		t.Errorf("position %d %v %v", position, ok, err)
	}
	if row, ok, err := after.Delivery(t.Context(), party, account(e)); row.Version != e.Version || !ok || err != nil {
		t.Errorf("row %+v %v %v", row, ok, err)
	}
}

func testDeliveriesWaitUntilTheyHaveCaughtUp(t *testing.T, open storeOpener) {
	b := open(t)
	party, e := ulid.Make(), b.happen()
	s := b.result(party, e, OutcomeRetrying, "")
	for _, step := range []struct {
		name     string
		attempts int
		behind   bool
	}{
		{"failed once", 1, false}, {"more happened", 1, true}, {"the first of them was delivered", 0, true}, {"so was the rest", 0, false},
	} {
		s.Delivery.Attempts, s.Delivery.Behind = step.attempts, step.behind
		b.save(result{Party: party, Delivery: s.Delivery})
		if got, want := len(b.waiting(party)) == 1, step.attempts > 0 || step.behind; got != want {
			t.Errorf("%s: waits: %v", step.name, got)
		}
		if len(b.waiting(ulid.Make())) != 0 {
			t.Errorf("%s: it waits for another third party", step.name)
		}
	}
	if got := b.attempts(Filter{}); len(got) != 0 {
		t.Errorf("without an attempt the delivery log has %+v", got)
	}
}

func testRedeliveryDoesNotChangeTheDelivery(t *testing.T, open storeOpener) {
	b := open(t)
	party, first := ulid.Make(), b.happen()
	second := first
	second.ID, second.Version, second.Position = ulid.Make(), 2, first.Position+5
	b.save(b.result(party, first, OutcomeFailed, ""))
	if row := b.delivery(party, account(first)); row.Delivered != 0 || row.Position != first.Position {
		t.Errorf("after a failure %+v", row)
	}
	b.save(b.result(party, second, OutcomeSkipped, "")) // a skipped event counts as delivered
	before := b.delivery(party, account(first))
	again := b.result(party, first, OutcomeDelivered, "")
	b.save(result{Party: party, Attempt: again.Attempt})
	if after := b.delivery(party, account(first)); after != before || after.Delivered != second.Position {
		t.Errorf("%+v became %+v", before, after)
	}
	if got := b.attempts(Filter{}); len(got) != 3 {
		t.Errorf("%d attempts", len(got))
	}
}

func testConcurrentSavesAreAllStored(t *testing.T, open storeOpener) {
	b := open(t)
	const parties, each = 8, 50
	happened := make([]events.Event, each)
	for i := range happened {
		happened[i] = b.happen()
	}
	var all sync.WaitGroup
	ids := make([]ulid.ULID, parties)
	for i := range ids {
		ids[i] = ulid.Make()
		for _, e := range happened {
			all.Go(func() {
				if err := b.store(t.Context(), b.result(ids[i], e, OutcomeDelivered, "ok")); err != nil {
					t.Error(err)
				}
				if row, ok, err := b.Delivery(t.Context(), ids[i], account(e)); !ok || row.Version != 1 || err != nil {
					t.Errorf("saved, but %+v %v %v", row, ok, err)
				}
			})
		}
		all.Go(func() {
			if err := b.SetPosition(t.Context(), ids[i], each); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	b.reopen()
	for _, party := range ids {
		if got := b.attempts(Filter{Party: party, Limit: 2 * each}); len(got) != each {
			t.Errorf("%d attempts, %d were saved", len(got), each)
		}
		if got := b.position(party); got != each {
			t.Errorf("position %d", got)
		}
	}
}

func testSaveDoesNotEndWithItsContext(t *testing.T, open storeOpener) {
	b := open(t)
	ctx, cancel := contextThatEnded(t)
	defer cancel()
	party, e := ulid.Make(), b.happen()
	b.must(b.store(ctx, b.result(party, e, OutcomeDelivered, "thanks")))
	b.must(b.SetPosition(ctx, party, e.Position))
	if b.delivery(party, account(e)).Version != 1 || b.position(party) != 1 {
		t.Error("nothing was stored")
	}
}
