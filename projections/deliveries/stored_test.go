package deliveries

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

func contextThatEnded(t *testing.T) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx, cancel
}

func testRewindDeletesWhatCameAfterThePosition(t *testing.T, open storeOpener) {
	b := open(t)
	party, other := ulid.Make(), ulid.Make()
	old, stuck, told, failing := b.happen(), b.happen(), b.happen(), b.happen()
	last := b.happen()
	for _, p := range []ulid.ULID{party, other} {
		b.save(b.result(p, old, OutcomeDelivered, ""))
		b.save(b.result(p, stuck, OutcomeRetrying, "")) // waits for an event before the position
		b.save(b.result(p, told, OutcomeDelivered, ""))
		s := b.result(p, failing, OutcomeRetrying, "") // one of the account's later events fails
		s.Delivery.Version, s.Delivery.Position = 1, failing.Position
		b.save(s)
		b.must(b.SetPosition(t.Context(), p, last.Position))
	}
	b.must(b.Rewind(t.Context(), party, stuck.Position))
	b.reopen()

	if got := b.position(party); got != int(stuck.Position) {
		t.Errorf("position %d", got)
	}
	for name, want := range map[string]struct {
		e    events.Event
		kept bool
	}{"done before": {old, true}, "waits since before": {stuck, true}, "done after": {told, false}, "waits since after": {failing, false}} {
		if got := b.delivery(party, account(want.e)) != (Delivery{}); got != want.kept {
			t.Errorf("%s: the row is there: %v", name, got)
		}
		if b.delivery(other, account(want.e)) == (Delivery{}) {
			t.Errorf("%s: another third party's row is gone", name)
		}
	}
	if got := b.waiting(party); len(got) != 1 || got[0].Account != account(stuck) {
		t.Errorf("waiting are %+v", got)
	}
	if got := b.position(other); got != int(last.Position) {
		t.Errorf("another third party is at %d", got)
	}
}

func testRewindNeverSkipsAnything(t *testing.T, open storeOpener) {
	b := open(t)
	party := ulid.Make()
	b.must(b.SetPosition(t.Context(), party, 5))
	if err := b.Rewind(t.Context(), party, 6); !errors.Is(err, ErrNotReached) {
		t.Errorf("%v", err)
	}
	if got := b.position(party); got != 5 {
		t.Errorf("position %d after a refusal", got)
	}
	// A refusal costs those who share its transaction nothing.
	e := b.happen()
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if err := b.Rewind(t.Context(), party, 6); !errors.Is(err, ErrNotReached) {
				t.Errorf("%v", err)
			}
		})
		all.Go(func() {
			if err := b.store(t.Context(), b.result(party, e, OutcomeDelivered, "")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	unknown := ulid.Make()
	b.must(b.Rewind(t.Context(), unknown, 7))
	if got := b.position(unknown); got != 7 {
		t.Errorf("one that the store did not know is at %d", got)
	}
}

func testDeletePartyLeavesOtherParties(t *testing.T, open storeOpener) {
	b := open(t)
	party, other := ulid.Make(), ulid.Make()
	const many = 30
	for i := range many {
		e := b.happen()
		for _, p := range []ulid.ULID{party, other} {
			b.save(b.result(p, e, []string{OutcomeDelivered, OutcomeRetrying}[i%2], ""))
		}
	}
	for _, p := range []ulid.ULID{party, other} {
		b.must(b.SetPosition(t.Context(), p, many))
	}
	if known := b.parties(); len(known) != 2 || !slices.Contains(known, party) || !slices.Contains(known, other) {
		t.Errorf("known are %v", known)
	}
	b.must(b.DeleteParty(t.Context(), party))
	b.must(b.DeleteParty(t.Context(), party))
	if known := b.parties(); !slices.Equal(known, []ulid.ULID{other}) {
		t.Errorf("still known are %v", known)
	}
	if b.sqlite != nil && bytes.Contains(b.emptied(), party[:]) {
		t.Error("its id is in the file")
	}
	if got := len(b.attempts(Filter{Party: other})); got != many || len(b.waiting(other)) != many/2 || b.position(other) != many {
		t.Errorf("of the other there are %d attempts, %d that wait, position %d", got, len(b.waiting(other)), b.position(other))
	}
	b.save(b.result(party, b.happen(), OutcomeDelivered, ""))
	b.must(b.DeleteParty(t.Context(), party))
	if got := b.attempts(Filter{Party: party}); len(got) != 0 {
		t.Errorf("%d attempts of one that came back and was deleted again", len(got))
	}
}

func (b *storeHarness) parties() []ulid.ULID {
	b.t.Helper()
	known, err := b.Parties(b.t.Context())
	b.must(err)
	return known
}

// emptied is the file after its write-ahead log was folded into it.
func (b *storeHarness) emptied() []byte {
	b.t.Helper()
	b.must(b.Close())
	content := b.file()
	b.open()
	return content
}

func TestDeletedAccountLeavesNoBytes(t *testing.T) {
	b := newStoreHarness(t)
	parties := []ulid.ULID{ulid.Make(), ulid.Make(), ulid.Make()}
	var all []events.Event
	for range 200 { // several pages of each table, so that rows move between them
		all = append(all, b.happen())
	}
	gone := all[77]
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, party := range parties {
		for _, e := range all {
			for n := range 3 {
				outcome := []string{OutcomeRetrying, OutcomeDelivered}[n%2]
				s := b.result(party, e, outcome, fmt.Sprintf("answer %d", n))
				s.Attempt.Number, s.Delivery.Attempts = n+1, 0
				b.save(s)
			}
		}
	}
	id, other := account(gone), account(all[slices.IndexFunc(all, func(e events.Event) bool { return e.ID != gone.ID })])
	if n := bytes.Count(b.file(), id[:]); n < len(parties)*4 {
		t.Fatalf("the account is in %d places of the file, expected more", n)
	}
	b.must(b.DeleteAccount(t.Context(), id))
	// While the store is open: neither the file nor its write-ahead log.
	for name, secret := range map[string][]byte{"account": id[:], "event": gone.ID[:]} {
		if n := bytes.Count(b.file(), secret); n > 0 {
			t.Errorf("the id of the %s is still in %d places", name, n)
		}
	}
	if got := b.attempts(Filter{Account: id}); len(got) != 0 {
		t.Errorf("%d attempts", len(got))
	}
	if got := b.attempts(Filter{Limit: 10_000}); len(got) != len(parties)*(len(all)-1)*3 {
		t.Errorf("%d attempts of others are left", len(got))
	}
	for _, party := range parties {
		if b.delivery(party, id) != (Delivery{}) || b.delivery(party, other) == (Delivery{}) {
			t.Error("the rows are not those of the others")
		}
	}
	b.must(b.DeleteAccount(t.Context(), id))
}

// One third party may be sent the erasure before another one is.
func testDeleteAccountKeepsDeliveriesThatWait(t *testing.T, open storeOpener) {
	b := open(t)
	told, failing, behind := ulid.Make(), ulid.Make(), ulid.Make()
	e := b.happen()
	b.save(b.result(told, e, OutcomeDelivered, "thanks"))
	b.save(b.result(failing, e, OutcomeRetrying, "busy"))
	late := b.result(behind, e, OutcomeDelivered, "thanks")
	late.Delivery.Behind = true
	b.save(late)
	b.must(b.DeleteAccount(t.Context(), account(e)))
	b.reopen()
	if b.delivery(told, account(e)) != (Delivery{}) || len(b.waiting(failing)) != 1 || len(b.waiting(behind)) != 1 {
		t.Errorf("rows are %+v, %+v, %+v", b.delivery(told, account(e)), b.delivery(failing, account(e)), b.delivery(behind, account(e)))
	}
	if got := b.attempts(Filter{}); len(got) != 0 {
		t.Errorf("attempts %+v", got)
	}
	for _, party := range []ulid.ULID{failing, behind} {
		b.save(b.result(party, e, OutcomeDelivered, ""))
	}
	b.must(b.DeleteAccount(t.Context(), account(e)))
	id := account(e)
	if b.sqlite != nil && bytes.Contains(b.file(), id[:]) {
		t.Error("something is left once every third party was sent the erasure")
	}
}
