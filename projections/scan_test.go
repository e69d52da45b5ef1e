package projections

import (
	"context"
	"reflect"
	"testing"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

func (h *fixture) destroy(streams ...events.Stream) {
	h.t.Helper()
	h.must(h.keys.Destroy(context.Background(), streams...))
}

func (h *fixture) credential(id ulid.ULID) events.Credential {
	h.t.Helper()
	c, ok, err := h.model.Credential(h.t.Context(), id)
	h.must(err)
	if !ok {
		h.t.Fatalf("credential %s is not in the read model", id)
	}
	return c
}

// apply takes in what the log holds, a part at a time.
func (h *fixture) apply(batch int) {
	h.t.Helper()
	rest := h.all(h.position())
	for len(rest) > 0 {
		part := rest[:min(batch, len(rest))]
		rest = rest[len(part):]
		h.must(h.model.Apply(h.t.Context(), part))
	}
}

// rebuild rebuilds the read model from the log as it is now.
func (h *fixture) rebuild(batch int) {
	h.t.Helper()
	h.must(h.model.Close())
	rebuilt := *h
	rebuilt.dir = h.t.TempDir()
	rebuilt.openModel()
	h.model, h.follower, h.dir = rebuilt.model, rebuilt.follower, rebuilt.dir
	h.t.Cleanup(func() { rebuilt.model.Close() })
	h.apply(batch)
}

// owners are one of each kind of stream.
type owners struct {
	account, key, party ulid.ULID
}

func (h *fixture) owners() owners {
	o := owners{account: h.renamed(3), party: ulid.Make()}
	o.key, _ = h.issueKey(events.KeyIssued{Account: o.account, Scopes: []string{"read:account"}})
	h.append(events.ThirdPartyStream(o.party), 0, events.ThirdPartyAdded{Name: "crm", URL: "https://example.com"},
		events.ThirdPartyPaused{}, events.ThirdPartyResumed{})
	return o
}

func (o owners) streams() []events.Stream {
	return []events.Stream{events.AccountStream(o.account), events.CredentialStream(o.key), events.ThirdPartyStream(o.party)}
}

func (h *fixture) end(o owners) {
	h.append(events.AccountStream(o.account), 3, events.AccountErased{})
	h.append(events.CredentialStream(o.key), 1, events.CredentialRevoked{})
}

// expectGone wants the read model to know of nothing but that they were there,
// from memory and from its file.
func (h *fixture) expectGone(o owners, ended bool) (events.Account, events.Credential) {
	h.t.Helper()
	var a events.Account
	var c events.Credential
	for range 2 {
		a, c = h.account(o.account), h.credential(o.key)
		want := events.Account{
			ID: o.account, Erased: true, Shredded: !ended, Opened: a.Opened, Updated: a.Updated, Version: a.Version, Position: a.Position,
		}
		if !reflect.DeepEqual(a, want) || a.Opened.IsZero() || a.Updated.IsZero() || a.Position == 0 {
			h.t.Errorf("the account is\n%+v, not\n%+v", a, want)
		}
		if c.Version == 0 || c.Usable(c.Issued) || c.Usable(c.Revoked.Add(1)) {
			h.t.Errorf("the credential is %+v", c)
		}
		if p, ok, err := h.model.ThirdParty(h.t.Context(), o.party.String()); ok || err != nil {
			h.t.Errorf("the third party is %+v, %v", p, err)
		}
		if all, err := h.model.ThirdParties(h.t.Context()); len(all) > 0 || err != nil {
			h.t.Errorf("third parties: %v, %v", all, err)
		}
		h.clearCaches()
	}
	return a, c
}

func TestFoldFromTheBeginningOverDestroyedKeys(t *testing.T) {
	for _, batch := range []int{1, 3, 500} {
		for _, ended := range []bool{true, false} {
			h := newFixture(t)
			o := h.owners()
			if ended {
				h.end(o)
			}
			h.destroy(o.streams()...)
			h.apply(batch)
			h.expectGone(o, ended)
			if other := h.openAccount("bo@example.com"); true {
				h.apply(batch)
				if a := h.account(other); a.Email != "bo@example.com" {
					t.Errorf("another account: %+v", a)
				}
			}
		}
	}
}

// A row may have been sealed before its key was destroyed, and the follower be
// behind the log by then. It goes on from the row's columns, and ends where a
// rebuilt read model does.
func TestFoldGoesOnFromRowsOfDestroyedKeys(t *testing.T) {
	for taken := range uint64(8) {
		h := newFixture(t)
		o := h.owners()
		for _, e := range h.all(0)[:taken] {
			h.must(h.model.Apply(t.Context(), []events.Event{e}))
		}
		h.destroy(o.streams()...)
		h.clearCaches()
		h.apply(2)
		before, key := h.expectGone(o, false)
		h.end(o)
		h.apply(2)
		after, revoked := h.expectGone(o, true)
		if before.Version != 3 || after.Version != 4 || key.Version != 1 || revoked.Version != 2 {
			t.Errorf("after %d events: versions %d, %d, %d, %d", taken, before.Version, after.Version, key.Version, revoked.Version)
		}
		h.rebuild(500)
		if again, rebuilt := h.expectGone(o, true); !reflect.DeepEqual(again, after) || !reflect.DeepEqual(rebuilt, revoked) {
			t.Errorf("after %d events, rebuilt:\n%+v\n%+v\nwas:\n%+v\n%+v", taken, again, rebuilt, after, revoked)
		}
	}
}

// A key may be destroyed when an event was read, and its row not written yet.
func TestKeyDestroyedBetweenReadingAndWriting(t *testing.T) {
	h := newFixture(t)
	o := h.owners()
	batch := h.all(0)
	h.destroy(o.streams()...)
	h.must(h.model.Apply(t.Context(), batch))
	h.expectGone(o, false)
	h.end(o)
	h.apply(1)
	h.expectGone(o, true)
}

func TestPagesHaveRowsOfDestroyedKeys(t *testing.T) {
	h := newFixture(t)
	o := h.owners()
	other := h.openAccount("bo@example.com")
	h.apply(500)
	h.destroy(o.streams()...)
	accounts, err := h.model.Accounts(t.Context(), ulid.ULID{}, 10)
	if err != nil || len(accounts) != 2 || !accounts[0].Erased || accounts[1].ID != other || accounts[1].Erased {
		t.Errorf("%+v, %v", accounts, err)
	}
	credentials, err := h.model.Credentials(t.Context(), ulid.ULID{}, 10)
	if err != nil || len(credentials) != 1 || credentials[0].Usable(credentials[0].Issued) || credentials[0].Kind != "" {
		t.Errorf("%+v, %v", credentials, err)
	}
}

// Nobody knows any more what the account was, so it is erased at every version.
func TestAccountWhoseKeyIsDestroyedWasErasedAtEveryVersion(t *testing.T) {
	h, _, p := newPast(t)
	id := h.renamed(3)
	h.destroy(events.AccountStream(id))
	for version := uint64(1); version <= 3; version++ {
		if a, err := p.AccountAt(t.Context(), id, version); err != nil || !a.Erased || a.Version != version || a.Email != "" {
			t.Errorf("version %d: %+v, %v", version, a, err)
		}
	}
}

func TestReaderFindsNoAccountWhoseKeyIsDestroyed(t *testing.T) {
	h := newFixture(t)
	id := h.renamed(3)
	h.apply(2) // and the rest is folded
	h.destroy(events.AccountStream(id))
	h.clearCaches()
	r := &Reader{Store: h.store, Model: h.model, Follower: h.follower}
	if a, err := r.Account(t.Context(), id); err != ErrNoAccount {
		t.Errorf("%+v, %v", a, err)
	}
}
