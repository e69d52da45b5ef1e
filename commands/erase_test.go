package commands

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/keyring"
)

// forgetful is a node whose keys can be destroyed.
func forgetful(t *testing.T) (*node, *keyring.Keyring) {
	t.Helper()
	keys, err := keyring.Open(t.Context(), filepath.Join(t.TempDir(), "keys.db"), bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keys.Close() })
	n := newNode(t)
	n.store = eventstore.NewStore(n.log, keys)
	return n.another(), keys
}

func (n *node) refuses(t *testing.T, id ulid.ULID, c Command) {
	t.Helper()
	if out, err := n.Do(t.Context(), id, events.Metadata{}, c); !errors.Is(err, ErrNotFound) {
		t.Errorf("%T: %+v, %v", c, out, err)
	}
}

func destroy(t *testing.T, keys *keyring.Keyring, id ulid.ULID) {
	t.Helper()
	if err := keys.Destroy(t.Context(), events.AccountStream(id)); err != nil {
		t.Fatal(err)
	}
}

func TestErasureReleasesClaims(t *testing.T) {
	n := newNode(t)
	id := ulid.Make()
	open := Open{Email: "anna@example.se", PaywayID: NewPaywayID(), Profile: events.ProfileUpdated{
		SocialSecurityNumber: events.Set("19850507-3412"), CustomerNumber: events.Set("C1"),
	}, FormatsDecided: true}
	n.do(t, id, open)
	out := n.do(t, id, Erase{})
	if !out.Changed || !out.Account.Erased || out.Account.Version != 2 || out.Account.Email != "" {
		t.Errorf("%+v", out)
	}
	if held, err := n.store.Claims(t.Context(), eventstore.HeldClaim{}, 10); err != nil || len(held) > 0 {
		t.Errorf("it holds %v, %v", held, err)
	}
	n.do(t, ulid.Make(), open) // another has all of them now
	for _, c := range []Command{alias("a"), RecordFacts{}, CancelEmailChange{}} {
		n.refuses(t, id, c)
	}
	if _, err := n.Load(t.Context(), id); !errors.Is(err, ErrNotFound) {
		t.Errorf("it is loaded: %v", err)
	}
}

func TestErasingTwiceChangesNothing(t *testing.T) {
	n := newNode(t)
	id := n.open(t, "anna")
	n.do(t, id, Erase{})
	for _, m := range []*node{n, n.another()} {
		if out := m.do(t, id, Erase{}); out.Changed || out.Account.Version != 2 {
			t.Errorf("%+v", out)
		}
	}
	n.refuses(t, ulid.Make(), Erase{})
}

// What was remembered of requests would tell of the account for a day.
func TestErasureDeletesReceipts(t *testing.T) {
	n := newNode(t)
	id := n.open(t, "anna")
	n.doOnce(t, id, once("r", 1), alias("a"))
	n.do(t, id, Erase{})
	if of, _, err := n.store.Receipt(t.Context(), once("r", 1).Name); of != "" || err != nil {
		t.Errorf("it is remembered with %q, %v", of, err)
	}
	if _, err := n.DoOnce(t.Context(), id, events.Metadata{}, once("r", 1), alias("a")); !errors.Is(err, ErrNotFound) {
		t.Errorf("sent again: %v", err)
	}
}

// Commands that wait together with the erasure are decided around it, in one append.
func TestErasureInABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		id := n.open(t, "anna")
		_, errs, _ := n.queued(t, id, []Command{alias("a"), email("eva@example.se"), Erase{}, alias("b"), Erase{}}, func() {})
		for i, want := range []error{nil, nil, nil, ErrNotFound, nil} {
			if !errors.Is(errs[i], want) {
				t.Errorf("command %d: %v, want %v", i, errs[i], want)
			}
		}
		if held, err := n.store.Claims(t.Context(), eventstore.HeldClaim{}, 10); err != nil || len(held) > 0 {
			t.Errorf("it holds %v, %v", held, err)
		}
		history := n.history(t, id)
		if last := history[len(history)-1]; last.Type != events.TypeAccountErased {
			t.Errorf("the last event is %s", last.Type)
		}
	})
}

func TestAccountWhoseKeyIsDestroyedIsNotFound(t *testing.T) {
	n, keys := forgetful(t)
	id := n.open(t, "anna")
	destroy(t, keys, id)
	n.refuses(t, id, alias("a")) // its state is still cached
	cold := n.another()
	cold.refuses(t, id, alias("a"))
	if got := len(n.history(t, id)); got != 1 {
		t.Errorf("%d events", got)
	}
	credentials := NewCredentials(n.store, nil)
	if _, err := credentials.IssueKey(t.Context(), events.Metadata{}, events.KeyIssued{Account: id, Scopes: []string{"read:account"}}); !errors.Is(err, ErrNotFound) {
		t.Errorf("a key was issued: %v", err)
	}
}

// An older log lacks the event that says so. It is appended, once.
func TestErasureIsAppendedToARestoredLog(t *testing.T) {
	n, keys := forgetful(t)
	id := n.open(t, "anna")
	destroy(t, keys, id)
	restored := n.another()
	if out := restored.do(t, id, Erase{}); !out.Changed || out.Account.Shredded || out.Account.Version != 2 {
		t.Errorf("%+v", out)
	}
	for _, m := range []*node{restored, n.another()} {
		if out := m.do(t, id, Erase{}); out.Changed {
			t.Errorf("again: %+v", out)
		}
	}
}
