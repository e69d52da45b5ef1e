package projections

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

// folded is what the log says an account is.
func (h *fixture) folded(id ulid.ULID) (a events.Account) {
	h.t.Helper()
	evs, err := h.store.ReadStream(h.t.Context(), events.AccountStream(id), 0, 1<<20)
	h.must(err)
	for _, e := range evs {
		p, err := e.Payload()
		h.must(err)
		a.Apply(e, p)
	}
	return a
}

// history writes some accounts' lives and returns their ids; one is erased.
func (h *fixture) history() []ulid.ULID {
	h.t.Helper()
	var ids []ulid.ULID
	for i := range 8 {
		ids = append(ids, h.openAccount(fmt.Sprintf("a%d@example.com", i)))
	}
	for i, id := range ids {
		for v := range i {
			h.append(events.AccountStream(id), uint64(v)+1, named(fmt.Sprintf("Name%d", v)))
		}
	}
	h.append(events.AccountStream(ids[3]), 4, events.AccountErased{})
	return ids
}

func (h *fixture) checkFolds(ids []ulid.ULID) {
	h.t.Helper()
	for _, id := range ids {
		if got, want := h.account(id), h.folded(id); !reflect.DeepEqual(got, want) {
			h.t.Errorf("account %s is %+v, the log says %+v", id, got, want)
		}
	}
}

func TestReadModelIsTheFoldOfTheLog(t *testing.T) {
	for _, size := range []int{1, 3, 1000} {
		t.Run(fmt.Sprintf("in batches of %d", size), func(t *testing.T) {
			h := newFixture(t)
			ids := h.history()
			for rest := h.all(0); len(rest) > 0; rest = rest[min(size, len(rest)):] {
				h.must(h.model.Apply(t.Context(), rest[:min(size, len(rest))]))
			}
			h.checkFolds(ids)
			h.clearCaches()
			h.checkFolds(ids)
		})
	}
}

func TestEventsAtOrBelowThePositionAreDropped(t *testing.T) {
	h := newFixture(t)
	ids := h.history()
	h.must(h.model.Apply(t.Context(), h.all(0)))
	h.append(events.AccountStream(ids[0]), 1, named("Late"))
	h.must(h.model.Apply(t.Context(), h.all(0)))
	h.must(h.model.Apply(t.Context(), h.all(5)))
	h.checkFolds(ids)
}

func TestGapInAStreamIsAnErrorAndChangesNothing(t *testing.T) {
	h := newFixture(t)
	id := h.openAccount("a@example.com")
	h.append(events.AccountStream(id), 1, named("Two"), named("Three"))
	other := h.openAccount("b@example.com")
	evs := h.all(0)
	h.must(h.model.Apply(t.Context(), evs[:1]))
	gap := []events.Event{evs[3], evs[2]}
	gap[0].Position, gap[1].Position = 2, 3
	for _, memory := range []string{"warm", "cold"} {
		if err := h.model.Apply(t.Context(), gap); !errors.Is(err, ErrOutOfStep) {
			t.Errorf("%s: Apply returned %v", memory, err)
		}
		if _, ok, _ := h.model.Account(t.Context(), other); ok || h.position() != 1 || h.account(id).Version != 1 {
			t.Errorf("%s: part of the batch was applied", memory)
		}
		h.clearCaches()
	}
}

func TestEventOfAnotherKindOfStreamIsOutOfStep(t *testing.T) {
	h := newFixture(t)
	h.append(events.AccountStream(ulid.Make()), 0, events.CredentialRevoked{})
	if err := h.model.Apply(t.Context(), h.all(0)); !errors.Is(err, ErrOutOfStep) {
		t.Errorf("Apply returned %v", err)
	}
}

func TestOtherStreamsOnlyMoveThePosition(t *testing.T) {
	h := newFixture(t)
	position := h.poison(events.Stream("invoice-"+ulid.Make().String()), 0, "InvoiceSent.v1", "{}")
	h.must(h.model.Apply(t.Context(), h.all(0)))
	if h.position() != position {
		t.Errorf("position %d", h.position())
	}
}

func TestRowsAndPositionAreOneTransaction(t *testing.T) {
	h := newFixture(t)
	first := h.openAccount("a@example.com")
	h.must(h.model.Apply(t.Context(), h.all(0)))
	second := h.openAccount("b@example.com")
	h.append(events.AccountStream(first), 1, named("Changed"))

	// The process dies after the rows and the position were written and before the commit.
	tx, err := h.model.file.writer.BeginTx(t.Context(), nil)
	h.must(err)
	f, err := newFold(t.Context(), h.model, tx)
	h.must(err)
	for _, e := range h.all(0) {
		h.must(f.takeIn(t.Context(), e))
	}
	h.must(f.write(t.Context()))
	h.must(tx.Rollback())
	h.must(h.model.Close())

	h.openModel()
	if _, ok, _ := h.model.Account(t.Context(), second); ok || h.position() != 1 || h.account(first).Version != 1 {
		t.Error("part of a batch survived")
	}
	h.run()
	h.drain()
	h.checkFolds([]ulid.ULID{first, second})
}

func TestListsComeInPagesInOrder(t *testing.T) {
	h := newFixture(t)
	for range 5 {
		h.openAccount("a@example.com")
		h.issueKey(events.KeyIssued{Client: "billing"})
	}
	h.must(h.model.Apply(t.Context(), h.all(0)))
	var after, afterKey ulid.ULID
	for page, want := range []int{2, 2, 1, 0} {
		accounts, err := h.model.Accounts(t.Context(), after, 2)
		h.must(err)
		credentials, err := h.model.Credentials(t.Context(), afterKey, 2)
		h.must(err)
		if len(accounts) != want || len(credentials) != want {
			t.Fatalf("page %d has %d accounts and %d credentials", page, len(accounts), len(credentials))
		}
		for i := range accounts {
			if accounts[i].ID.Compare(after) <= 0 || credentials[i].ID.Compare(afterKey) <= 0 {
				t.Errorf("page %d is not in order", page)
			}
			after, afterKey = accounts[i].ID, credentials[i].ID
		}
	}
}

func TestConsumerNamesAreThoseOfUsableKeys(t *testing.T) {
	h := newFixture(t)
	h.issueKey(events.KeyIssued{Consumer: "warehouse"})
	h.issueKey(events.KeyIssued{Consumer: "crm"})
	again, _ := h.issueKey(events.KeyIssued{Consumer: "crm"})
	gone, _ := h.issueKey(events.KeyIssued{Consumer: "gone"})
	h.issueKey(events.KeyIssued{Client: "billing"})
	for _, id := range []ulid.ULID{again, gone} {
		h.append(events.CredentialStream(id), 1, events.CredentialRevoked{})
	}
	h.must(h.model.Apply(t.Context(), h.all(0)))
	names, err := h.model.ConsumerNames(t.Context())
	h.must(err)
	if got := fmt.Sprint(names); got != "[crm warehouse]" {
		t.Errorf("consumers %s", got)
	}
}

func TestFailedBatchLeavesMemoryAsItWas(t *testing.T) {
	h := newFixture(t)
	id := h.openAccount("a@example.com")
	h.must(h.model.Apply(t.Context(), h.all(0)))
	h.append(events.AccountStream(id), 1, named("Two"))
	h.append(events.AccountStream(ulid.Make()), 0, events.CredentialRevoked{}) // belongs in no account
	if err := h.model.Apply(t.Context(), h.all(1)); !errors.Is(err, ErrOutOfStep) {
		t.Fatalf("Apply returned %v", err)
	}
	if a := h.account(id); a.Version != 1 || a.Profile.FirstName != "" {
		t.Errorf("version %d was never committed", a.Version)
	}
}
