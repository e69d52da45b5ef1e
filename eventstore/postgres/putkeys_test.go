//go:build servers

package postgres_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/postgres"
	"konto/eventstore/postgres/postgrestest"
)

func TestKeysAreMoved(t *testing.T) {
	primary := postgrestest.Primary(t)
	primary.Standby(t, "standby")
	master := keyring.Master{Given: oldMaster}
	k := openKeys(t, primary.URL(), master)
	put := func(name string, key []byte, want error) {
		t.Helper()
		if err := k.Put(t.Context(), name, key); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("put %s: %v", name, err)
		}
	}
	root, key, id := keyring.NewKey(), keyring.NewKey(), bytes.Repeat([]byte{1}, 16)
	if err := k.Bind(t.Context(), bytes.Repeat([]byte{2}, 16), true); err != nil { // by who tried the store
		t.Fatal(err)
	}
	fresh := k.Derive("claims")
	for range 2 { // a repeated import
		put(keyring.RootName, root, nil)
		put("account-"+ulid.ULID{1}.String(), key, nil)
		put("account-"+ulid.ULID{2}.String(), keyring.Tombstone(), nil)
		put(keyring.LogName, id, nil)
	}
	put(keyring.RootName, keyring.NewKey(), postgres.ErrOtherKeys)
	put("account-"+ulid.ULID{1}.String(), keyring.NewKey(), postgres.ErrOtherKeys)
	put("account-"+ulid.ULID{1}.String(), keyring.Tombstone(), postgres.ErrOtherKeys)
	put(keyring.LogName, bytes.Repeat([]byte{3}, 16), postgres.ErrOtherKeys)
	for _, k := range []*postgres.Keys{k, openKeys(t, primary.URL(), master)} {
		if is := k.Derive("claims"); bytes.Equal(is, fresh) || !bytes.Equal(is, keyring.Derive(root, "claims")) {
			t.Error("the root key is not the one that was put")
		}
		if err := k.Bind(t.Context(), id, false); err != nil {
			t.Error(err)
		}
		moved, err := keyring.NewCipher(key)
		if err != nil {
			t.Fatal(err)
		}
		unseals(t, k, events.AccountStream(ulid.ULID{1}), seal(moved))
		if _, err := k.Create(t.Context(), events.AccountStream(ulid.ULID{2})); !errors.Is(err, eventstore.ErrDestroyed) {
			t.Errorf("a tombstone: %v", err)
		}
	}
}

// What was prefetched is answered without the server, also that a key is destroyed.
func TestKeysArePrefetched(t *testing.T) {
	primary := postgrestest.Primary(t)
	primary.Standby(t, "standby")
	master := keyring.Master{Given: oldMaster}
	k := openKeys(t, primary.URL(), master)
	kept, ended, destroyed, other := newStream(), newStream(), newStream(), newStream()
	createAll(t, k, kept, ended, destroyed, other)
	sealed := seal(create(t, k, kept))
	if err := k.Destroy(t.Context(), destroyed); err != nil {
		t.Fatal(err)
	}
	k = openKeys(t, primary.URL(), master)
	k.Ended(ended)
	if err := k.Prefetch(t.Context(), kept, kept, ended, destroyed, newStream()); err != nil {
		t.Fatal(err)
	}
	k.Close()
	unseals(t, k, kept, sealed)
	for stream, want := range map[events.Stream]error{ended: eventstore.ErrClosed, destroyed: eventstore.ErrDestroyed, other: eventstore.ErrClosed} {
		if _, err := k.Cipher(t.Context(), stream); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
}

// Claims of another rule must not be appended beside the new ones.
func TestClaimsAreNotReplacedWhileOtherNodesRun(t *testing.T) {
	primary := postgrestest.Primary(t)
	primary.Standby(t, "standby")
	none := func(func(eventstore.HeldClaim, error) bool) {}
	a, b := open(t, primary.URL()), open(t, primary.URL())
	if _, err := a.Join(t.Context(), postgres.Node{Name: "a"}, func() uint64 { return 0 }); err != nil {
		t.Fatal(err)
	}
	if err := b.ReplaceClaims(t.Context(), 7, none); !errors.Is(err, postgres.ErrNodesRun) {
		t.Errorf("by a command: %v", err)
	}
	if err := a.ReplaceClaims(t.Context(), 7, none); err != nil {
		t.Errorf("by the only node: %v", err)
	}
	if _, err := b.Join(t.Context(), postgres.Node{Name: "b"}, func() uint64 { return 0 }); err != nil {
		t.Fatal(err)
	}
	if err := a.ReplaceClaims(t.Context(), 8, none); !errors.Is(err, postgres.ErrNodesRun) {
		t.Errorf("beside another node: %v", err)
	}
}
