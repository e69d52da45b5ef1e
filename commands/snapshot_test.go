package commands

import (
	"context"
	"errors"
	"testing"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

// remembered are snapshots. Their alias is one that no event set, so that it tells
// where a fold began.
type remembered map[ulid.ULID]events.Account

func (r remembered) Account(_ context.Context, id ulid.ULID) (events.Account, bool, error) {
	a, ok := r[id]
	if a.Profile.Alias == "broken" {
		return a, ok, errors.New("cannot be read")
	}
	return a, ok, nil
}

// withSnapshot gives a node that has nothing in memory of an account at version 4, and
// a snapshot of its version 2, changed by spoil.
func withSnapshot(t *testing.T, spoil func(*events.Account)) (*node, ulid.ULID) {
	n := newNode(t)
	id := n.open(t, "anna")
	snapshot := *n.do(t, id, alias("second")).Account
	n.do(t, id, &Update{Profile: events.ProfileUpdated{FirstName: events.Set("Third")}})
	n.do(t, id, &Update{Profile: events.ProfileUpdated{LastName: events.Set("Fourth")}})
	snapshot.Profile.Alias = "snapshot"
	spoil(&snapshot)
	return &node{NewAccounts(Config{Store: n.store, Snapshots: remembered{id: snapshot}}), n.log, n.store}, id
}

func TestFoldBeginsAtASnapshot(t *testing.T) {
	n, id := withSnapshot(t, func(*events.Account) {})
	a := n.do(t, id, &Update{Profile: events.ProfileUpdated{Address: events.AddressUpdated{City: events.Set("Lund")}}}).Account
	if a.Version != 5 || a.Profile.Alias != "snapshot" || a.Profile.FirstName != "Third" || a.Profile.LastName != "Fourth" {
		t.Errorf("%+v", a)
	}
}

func TestSnapshotsOfNoUseAreLeftAlone(t *testing.T) {
	for name, spoil := range map[string]func(*events.Account){
		"erased":         func(a *events.Account) { a.Erased = true },
		"cannot be read": func(a *events.Account) { a.Profile.Alias = "broken" },
	} {
		t.Run(name, func(t *testing.T) {
			n, id := withSnapshot(t, spoil)
			if a, err := n.Load(t.Context(), id); err != nil || a.Profile.Alias != "second" || a.Version != 4 {
				t.Errorf("%+v, %v", a, err)
			}
		})
	}
}

func TestSnapshotThatIsLaterThanAReplayIsLeftAlone(t *testing.T) {
	n, id := withSnapshot(t, func(*events.Account) {})
	for version, want := range map[uint64]string{1: "", 2: "snapshot", 3: "snapshot"} {
		a, err := n.at(t.Context(), id, version)
		if err != nil || a.Version != version || a.Profile.Alias != want {
			t.Errorf("at %d: %+v, %v", version, a, err)
		}
	}
}
