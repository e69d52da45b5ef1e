package projections

import (
	"testing"

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

// A cached row outlives its key, unless it is evicted.
func TestEvictedRowsAreReadAgain(t *testing.T) {
	h := newFixture(t)
	h.run()
	account := h.openAccount("anna@example.com")
	session, _ := h.issueKey(events.KeyIssued{Account: account})
	h.drain()
	h.account(account)
	if _, _, err := h.model.Credential(t.Context(), session); err != nil {
		t.Fatal(err)
	}
	h.must(h.keys.Destroy(t.Context(), events.AccountStream(account), events.CredentialStream(session)))
	h.model.Evict(account, session)
	if a := h.account(account); a.Email != "" || !a.Erased {
		t.Errorf("the account is %+v", a)
	}
	if c, _, err := h.model.Credential(t.Context(), session); err != nil || c.Kind != "" || len(c.SecretHash) > 0 {
		t.Errorf("the credential is %+v, %v", c, err)
	}
}
