package nats

import (
	"path/filepath"
	"testing"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/memory"
)

// Of an account whose key was destroyed before its events were published, only AccountErased is published.
// The events of others do not wait for it.
func TestShreddedEventsAreSkipped(t *testing.T) {
	r := newFixture(t)
	keys, err := keyring.Open(t.Context(), filepath.Join(t.TempDir(), "keys.db"), make([]byte, 32))
	must(t, err)
	defer keys.Close()
	r.store = eventstore.NewStore(memory.New(), keys)
	r.start()
	r.account(5)
	gone, lost := r.account(5), r.account(2)
	r.append(gone, events.PasswordChanged{Hash: "x"}, events.AccountErased{})
	r.account(5)
	must(t, keys.Destroy(t.Context(), gone, lost))
	r.follow(r.publisher())
	want := r.published(0)
	if len(want) != 11 {
		t.Fatalf("%d events are to be published", len(want))
	}
	r.holds(want)
	if c := r.saved(); c.Position != 19 {
		t.Errorf("the cursor is at %d", c.Position)
	}
}
