package commands

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
)

// behind gives two nodes of which the first has cached the account at version 2
// with alias a, while the second has made it b at version 3.
func behind(t *testing.T) (stale, other *node, id ulid.ULID) {
	stale = newNode(t)
	other = stale.another()
	id = stale.open(t, "anna")
	stale.do(t, id, alias("a"))
	other.do(t, id, alias("b"))
	if known, ok := stale.cache.Peek(id); !ok || known.Version != 2 {
		t.Fatal("the first node's cache is not behind")
	}
	return stale, other, id
}

func TestNoAnswerIsGivenFromAStaleState(t *testing.T) {
	at := func(version uint64, u *Update) *Update {
		u.If.Match = &Versions{List: []uint64{version}}
		return u
	}
	notAt := func(version uint64, u *Update) *Update {
		u.If.NoneMatch = &Versions{List: []uint64{version}}
		return u
	}
	tests := []struct {
		name    string
		command Command
		want    error
		version uint64
		changed bool
	}{
		{"what was no change is one", alias("a"), nil, 4, true},
		{"what was a change is none", alias("b"), nil, 3, false},
		{"a change", alias("c"), nil, 4, true},
		{"the version of old", at(2, alias("c")), ErrVersion, 0, false},
		{"the version of old, without a change", at(2, alias("a")), ErrVersion, 0, false},
		{"the present version", at(3, alias("c")), nil, 4, true},
		{"the present version, without a change", at(3, alias("b")), nil, 3, false},
		{"not the version of old", notAt(2, alias("c")), nil, 4, true},
		{"not the present version", notAt(3, alias("c")), ErrVersion, 0, false},
		{"not the present version, without a change", notAt(3, alias("b")), ErrVersion, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			stale, _, id := behind(t)
			outcome, err := stale.Do(t.Context(), id, events.Metadata{}, tt.command)
			if !errors.Is(err, tt.want) || err == nil && outcome.Account.Version != tt.version || outcome.Changed != tt.changed {
				t.Errorf("got %+v, %v", outcome, err)
			}
			var mismatch *VersionMismatch
			if errors.As(err, &mismatch) && mismatch.Actual != 3 {
				t.Errorf("told version %d, want 3", mismatch.Actual)
			}
		})
	}
}

// A node forgets an account that another one has erased when it loads it.
func TestLoadReplacesTheCachedStateOfAnErasedAccount(t *testing.T) {
	stale, other, id := behind(t)
	other.do(t, id, Erase{})
	if _, err := stale.Load(t.Context(), id); err != nil && !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	if known, ok := stale.cache.Peek(id); !ok || !known.Erased || known.Email != "" {
		t.Errorf("cached is %+v", known)
	}
}

func TestErasedElsewhereIsNotFound(t *testing.T) {
	stale, _, id := behind(t)
	erased, err := events.New(events.AccountStream(id), 4, ulid.Make(), time.Now(), events.Metadata{}, events.AccountErased{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stale.store.Append(t.Context(), events.AccountStream(id), 3, nil, []events.Event{erased}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []Command{alias("a"), alias("z"), RecordFacts{}} {
		if _, err := stale.Do(t.Context(), id, events.Metadata{}, c); !errors.Is(err, ErrNotFound) {
			t.Errorf("%+v: got %v", c, err)
		}
	}
	if _, err := stale.Load(t.Context(), id); !errors.Is(err, ErrNotFound) {
		t.Errorf("Load: got %v", err)
	}
}

func TestTakenIsNotAnsweredFromAStaleState(t *testing.T) {
	stale, other, id := behind(t)
	other.open(t, "taken")
	// A log may look at claims before it looks at versions.
	stale.log.set(func(ctx context.Context, b eventstore.Batch, log eventstore.Log) (uint64, error) {
		for _, op := range b.Claims {
			if holder, err := log.Holder(ctx, op.Key); err == nil && !op.Release && holder != "" && holder != b.Stream {
				return 0, &eventstore.ClaimTaken{Key: op.Key, Holder: holder}
			}
		}
		return log.Append(ctx, b)
	})
	update := email("taken@example.se")
	update.If.Match = &Versions{List: []uint64{2}}
	if _, err := stale.Do(t.Context(), id, events.Metadata{}, update); !errors.Is(err, ErrVersion) {
		t.Errorf("got %v, want %v", err, ErrVersion)
	}
}

func TestLoadSeesWhatOtherNodesWrote(t *testing.T) {
	stale, _, id := behind(t)
	if a, err := stale.Load(t.Context(), id); err != nil || a.Version != 3 || a.Profile.Alias != "b" {
		t.Errorf("loaded %+v, %v", a, err)
	}
}

func TestNodesOnOneLogLoseNothing(t *testing.T) {
	a := newNode(t)
	nodes := []*node{a, a.another()}
	id := a.open(t, "anna")
	const each = 200
	errs := all(2*each, func(i int) error {
		_, err := nodes[i%2].Do(t.Context(), id, events.Metadata{}, alias(fmt.Sprint(i)))
		return err
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if got := len(a.history(t, id)); got != 2*each+1 {
		t.Errorf("%d events, want %d", got, 2*each+1)
	}
}

func TestConflictsEndInBusy(t *testing.T) {
	n := newNode(t)
	id := n.open(t, "anna")
	before := n.log.count()
	n.log.set(func(_ context.Context, b eventstore.Batch, _ eventstore.Log) (uint64, error) {
		return 0, &eventstore.VersionConflict{Stream: b.Stream, Expected: b.Expected, Actual: b.Expected + 1}
	})
	if _, err := n.Do(t.Context(), id, events.Metadata{}, alias("a")); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v", err)
	}
	if got := n.log.count() - before; got != maxAttempts {
		t.Errorf("%d appends, want %d", got, maxAttempts)
	}
}

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

func TestUnusableSnapshotsAreIgnored(t *testing.T) {
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

func TestSnapshotLaterThanAReceiptIsIgnored(t *testing.T) {
	n, id := withSnapshot(t, func(*events.Account) {})
	for version, want := range map[uint64]string{1: "", 2: "snapshot", 3: "snapshot"} {
		a, err := n.at(t.Context(), id, version)
		if err != nil || a.Version != version || a.Profile.Alias != want {
			t.Errorf("at %d: %+v, %v", version, a, err)
		}
	}
}
