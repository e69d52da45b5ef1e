package projections

import (
	"slices"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

func TestEvictedPastIsReadAgain(t *testing.T) {
	h, log, p := newPast(t)
	id, other := h.renamed(5), h.renamed(5)
	for _, account := range []struct {
		cost int
	}{{5}, {0}} {
		if cost := expectPast(t, p, log, id, 5); cost != account.cost {
			t.Fatalf("read %d events, not %d", cost, account.cost)
		}
	}
	expectPast(t, p, log, other, 5)
	p.Evict(id)
	if cost := expectPast(t, p, log, other, 5); cost != 0 {
		t.Error("another account was evicted")
	}
	if cost := expectPast(t, p, log, id, 5); cost != 5 {
		t.Errorf("a state from before was kept: read %d events", cost)
	}
	// A state that was being folded meanwhile is not cached either.
	states, _, generation := p.states.get(id)
	p.Evict(id)
	p.states.add(id, states, generation)
	if _, ok, _ := p.states.get(id); ok {
		t.Error("what was read before is cached afterwards")
	}
}

// A cached row would outlive its key. Both rows are evicted by the events that come before the
// keys are destroyed, and a row that is read in between is not cached.
func TestErasedRowsAreNotCached(t *testing.T) {
	h := newFixture(t)
	h.run()
	account := h.openAccount("anna@example.com")
	session, _ := h.issueKey(events.KeyIssued{Account: account})
	h.drain()
	h.account(account)
	credential := func() events.Credential {
		t.Helper()
		c, _, err := h.model.Credential(t.Context(), session)
		h.must(err)
		return c
	}
	if credential(); !cached(h.model.credentials, session) {
		t.Fatal("a usable credential is not cached")
	}
	h.append(events.AccountStream(account), 1, events.AccountErased{})
	h.append(events.CredentialStream(session), 1, events.CredentialRevoked{})
	h.drain()
	if c := credential(); c.Kind == "" || cached(h.model.credentials, session) {
		t.Errorf("revoked, the credential is %+v, cached %v", c, cached(h.model.credentials, session))
	}
	h.must(h.keys.Destroy(t.Context(), events.AccountStream(account), events.CredentialStream(session)))
	if a := h.account(account); a.Email != "" || !a.Erased {
		t.Errorf("the account is %+v", a)
	}
	if c := credential(); c.Kind != "" || len(c.SecretHash) > 0 {
		t.Errorf("the credential is %+v", c)
	}
}

func cached[V any](c *cache[V], id ulid.ULID) bool {
	_, ok, _ := c.get(id)
	return ok
}

// An erasure finds the credentials of an account by an index, whether they are usable or not.
func TestCredentialsAreFoundByTheirAccount(t *testing.T) {
	h := newFixture(t)
	h.run()
	anna, bo := h.openAccount("anna@example.com"), h.openAccount("bo@example.com")
	key, _ := h.issueKey(events.KeyIssued{Account: anna})
	h.issueKey(events.KeyIssued{Account: bo})
	h.append(events.CredentialStream(key), 1, events.CredentialRevoked{})
	delegated := ulid.Make()
	h.append(events.CredentialStream(delegated), 0, events.SessionOpened{Account: bo, Parent: anna})
	h.drain()
	want := []ulid.ULID{key, delegated}
	slices.SortFunc(want, ulid.ULID.Compare)
	if got, err := h.model.CredentialsOf(t.Context(), anna); err != nil || !slices.Equal(got, want) {
		t.Errorf("found %v, not %v: %v", got, want, err)
	}
	for _, column := range []string{"account", "parent"} {
		var plan string
		row := h.model.file.readers.QueryRow("EXPLAIN QUERY PLAN SELECT id FROM credential WHERE "+column+" = ?", anna[:])
		if err := row.Scan(new(int), new(int), new(int), &plan); err != nil || !strings.Contains(plan, "USING INDEX credential_"+column) {
			t.Errorf("%s: %s, %v", column, plan, err)
		}
	}
}
