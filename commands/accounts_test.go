package commands

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/memory"
)

// tapped is a log whose appends a test can count, hold and spoil.
type tapped struct {
	eventstore.Log
	mu      sync.Mutex
	appends int
	// spoil, when set, replaces an append.
	spoil func(ctx context.Context, b eventstore.Batch, real eventstore.Log) (uint64, error)
}

func (l *tapped) Append(ctx context.Context, b eventstore.Batch) (uint64, error) {
	l.mu.Lock()
	l.appends++
	spoil := l.spoil
	l.mu.Unlock()
	if spoil != nil {
		return spoil(ctx, b, l.Log)
	}
	return l.Log.Append(ctx, b)
}

func (l *tapped) set(spoil func(context.Context, eventstore.Batch, eventstore.Log) (uint64, error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spoil = spoil
}

func (l *tapped) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.appends
}

// node is one handler on a log that others may share.
type node struct {
	*Accounts
	log   *tapped
	store *eventstore.Store
}

func newNode(t testing.TB) *node {
	t.Helper()
	keys, err := keyring.Open(t.Context(), filepath.Join(t.TempDir(), "keys.db"), bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keys.Close() })
	log := &tapped{Log: memory.New()}
	store := eventstore.NewStore(log, keys)
	return &node{NewAccounts(Config{Store: store}), log, store}
}

// another is a second node on the same log.
func (n *node) another() *node { return &node{NewAccounts(Config{Store: n.store}), n.log, n.store} }

func (n *node) do(t testing.TB, id ulid.ULID, c Command) Outcome {
	t.Helper()
	outcome, err := n.Do(t.Context(), id, events.Metadata{}, c)
	if err != nil {
		t.Fatal(err)
	}
	return outcome
}

// open makes an account whose address begins with name.
func (n *node) open(t testing.TB, name string) ulid.ULID {
	t.Helper()
	id := ulid.Make()
	n.do(t, id, Open{Email: name + "@example.se", PaywayID: fmt.Sprintf("%024x", id[4:16])})
	return id
}

func (n *node) history(t testing.TB, id ulid.ULID) []events.Event {
	t.Helper()
	evs, err := n.store.ReadStream(t.Context(), events.AccountStream(id), 0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	return evs
}

// decide decides c without preparing it.
func decide(state events.Account, c Command) (decision, error) { return c.decide(state, time.Time{}) }

func alias(value string) *Update {
	return &Update{Profile: events.ProfileUpdated{Alias: events.Set(value)}}
}

func email(value string) *Update { return &Update{Email: events.Set(value)} }

// all runs n commands at once and returns their errors in order.
func all(n int, run func(i int) error) []error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = run(i) })
	}
	wg.Wait()
	return errs
}

func TestDoAppendsWhatWasDecided(t *testing.T) {
	n := newNode(t)
	id := n.open(t, "anna")
	meta := events.Metadata{RequestID: "req_1", Contract: "generic"}
	update := &Update{Email: events.Set("eva@example.se"), Profile: events.ProfileUpdated{FirstName: events.Set("Eva")}}
	outcome, err := n.Do(t.Context(), id, meta, update)
	if err != nil {
		t.Fatal(err)
	}
	a := outcome.Account
	if !outcome.Changed || a.ID != id || a.Version != 3 || a.Position != 3 || a.Email != "eva@example.se" || a.Profile.FirstName != "Eva" {
		t.Errorf("outcome %+v", outcome)
	}
	if n.log.count() != 2 {
		t.Errorf("%d appends, want one for the opening and one for the update", n.log.count())
	}
	evs := n.history(t, id)
	if len(evs) != 3 || evs[1].Type != events.TypeProfileUpdated || evs[2].Type != events.TypeEmailChanged || evs[2].Metadata != meta {
		t.Errorf("history %+v", evs)
	}
	if bytes.Compare(evs[1].ID[:], evs[2].ID[:]) >= 0 {
		t.Error("the ids of one append do not ascend")
	}
	loaded, err := n.another().Load(t.Context(), id)
	if err != nil || loaded.Version != 3 || loaded.Profile != a.Profile || !loaded.Updated.Equal(a.Updated) {
		t.Errorf("folded %+v, %v; the outcome was %+v", loaded, err, a)
	}
}

func TestNoChangeAppendsNothing(t *testing.T) {
	n := newNode(t)
	id := n.open(t, "anna")
	n.do(t, id, alias("ann"))
	outcome := n.do(t, id, alias(" ann "))
	if outcome.Changed || outcome.Account.Version != 2 || outcome.Account.Position != 2 || n.log.count() != 2 {
		t.Errorf("outcome %+v after %d appends", outcome, n.log.count())
	}
}

func TestUnknownAccount(t *testing.T) {
	n := newNode(t)
	id := ulid.Make()
	if _, err := n.Load(t.Context(), id); !errors.Is(err, ErrNotFound) {
		t.Errorf("Load: %v", err)
	}
	if _, err := n.Do(t.Context(), id, events.Metadata{}, alias("a")); !errors.Is(err, ErrNotFound) {
		t.Errorf("Do: %v", err)
	}
	if _, err := n.Find(t.Context(), events.EmailClaim("a@b.se")); !errors.Is(err, ErrNotFound) {
		t.Errorf("Find: %v", err)
	}
	if n.cache.Len() != 0 {
		t.Error("an unknown account is cached")
	}
}

func TestClaimsFollowTheState(t *testing.T) {
	n := newNode(t)
	id := n.open(t, "anna")
	n.do(t, id, &Update{Email: events.Set("EVA@example.se"), FormatsDecided: true, Profile: events.ProfileUpdated{SocialSecurityNumber: events.Set("850507-3412")}})
	for _, c := range []events.Claim{events.EmailClaim("eva@example.se"), events.SocialSecurityNumberClaim("850507-3412")} {
		if holder, err := n.Find(t.Context(), c); err != nil || holder != id {
			t.Errorf("%s is held by %v, %v", c.Kind, holder, err)
		}
	}
	if _, err := n.Find(t.Context(), events.EmailClaim("anna@example.se")); !errors.Is(err, ErrNotFound) {
		t.Errorf("the old address is still held: %v", err)
	}
	n.do(t, id, &Update{Profile: events.ProfileUpdated{SocialSecurityNumber: events.Clear[string]()}})
	if _, err := n.Find(t.Context(), events.SocialSecurityNumberClaim("850507-3412")); !errors.Is(err, ErrNotFound) {
		t.Errorf("the cleared number is still held: %v", err)
	}
	n.open(t, "anna") // free again
}

func TestTakenErrorHasTheField(t *testing.T) {
	n := newNode(t)
	anna, bo := n.open(t, "anna"), n.open(t, "bo")
	state, _ := n.Load(t.Context(), anna)
	number := &Update{FormatsDecided: true, Profile: events.ProfileUpdated{SocialSecurityNumber: events.Set("850507-3412")}}
	customer := &Update{Profile: events.ProfileUpdated{CustomerNumber: events.Set("1002771")}}
	n.do(t, anna, number)
	n.do(t, anna, customer)
	tests := []struct {
		id      ulid.ULID
		command Command
		field   string
	}{
		{bo, email("ANNA@example.se"), "/email"},
		{bo, number, "/socialSecurityNumber"},
		{bo, customer, "/customerNumber"},
		{ulid.Make(), Open{Email: "c@example.se", PaywayID: state.PaywayID}, "/paywayId"},
	}
	for _, tt := range tests {
		_, err := n.Do(t.Context(), tt.id, events.Metadata{}, tt.command)
		var taken *Taken
		if !errors.As(err, &taken) || taken.Field != tt.field {
			t.Errorf("%s: got %v", tt.field, err)
		}
	}
	if got := len(n.history(t, bo)); got != 1 {
		t.Errorf("%d events, want none but the opening", got)
	}
}

func TestPartialUpdateLeavesOutTakenValues(t *testing.T) {
	n := newNode(t)
	anna, bo := n.open(t, "anna"), n.open(t, "bo")
	update := &Update{Partial: true, FormatsDecided: true, Email: events.Set("anna@example.se"),
		Profile: events.ProfileUpdated{Alias: events.Set("b"), SocialSecurityNumber: events.Set("850507-3412"), CustomerNumber: events.Set("1002771")}}
	n.do(t, anna, &Update{FormatsDecided: true,
		Profile: events.ProfileUpdated{SocialSecurityNumber: events.Set("850507-3412"), CustomerNumber: events.Set("1002771")}})
	outcome := n.do(t, bo, update)
	if !outcome.Changed || outcome.Account.Profile.Alias != "b" || outcome.Account.Email != "bo@example.se" || len(outcome.Rejected) != 3 {
		t.Fatalf("outcome %+v", outcome)
	}
	for _, f := range outcome.Rejected {
		if f.Code != CodeTaken {
			t.Errorf("rejected %+v", f)
		}
	}
	if again := n.do(t, bo, update); again.Changed || len(again.Rejected) != 3 {
		t.Errorf("repeated: %+v", again)
	}
}

func TestOneOfManyClaimsOfAnAddressWins(t *testing.T) {
	const accounts = 1000
	n := newNode(t)
	ids := make([]ulid.ULID, accounts)
	all(accounts, func(i int) error {
		ids[i] = n.open(t, fmt.Sprint("user", i))
		return nil
	})
	won := 0
	for _, err := range all(accounts, func(i int) error {
		_, err := n.Do(t.Context(), ids[i], events.Metadata{}, email("wanted@example.se"))
		return err
	}) {
		var taken *Taken
		switch {
		case err == nil:
			won++
		case !errors.As(err, &taken) || taken.Field != "/email":
			t.Errorf("got %v", err)
		}
	}
	if won != 1 {
		t.Errorf("%d won", won)
	}
}

func TestTimeNeverRunsBackwards(t *testing.T) {
	n := newNode(t)
	clock := time.Date(2026, 4, 27, 12, 34, 56, 789_000_000, time.UTC)
	n.now = func() time.Time {
		clock = clock.Add(-time.Hour)
		return clock
	}
	id := n.open(t, "anna")
	opened := n.do(t, id, alias("a")).Account.Opened
	if later := n.do(t, id, alias("b")).Account.Updated; !later.Equal(opened) {
		t.Errorf("opened at %v, updated at %v", opened, later)
	}
}

func TestCacheIsBounded(t *testing.T) {
	n := newNode(t)
	n.Accounts = NewAccounts(Config{Store: n.store, CachedAccounts: 2})
	var ids []ulid.ULID
	for i := range 10 {
		ids = append(ids, n.open(t, fmt.Sprint("user", i)))
	}
	if n.cache.Len() != 2 {
		t.Errorf("%d states cached, want 2", n.cache.Len())
	}
	for _, id := range ids {
		if got := n.do(t, id, alias("a")).Account.Version; got != 2 {
			t.Errorf("version %d, want 2", got)
		}
	}
}

// foldPage is how many events a fold reads at a time.
const foldPage = 500

func TestLongHistoriesAreFoldedInPages(t *testing.T) {
	n := newNode(t)
	id := n.open(t, "anna")
	const updates = 2*foldPage + 7
	var evs []events.Event
	for i := range updates {
		p := events.ProfileUpdated{Alias: events.Set(fmt.Sprint(i))}
		e, err := events.New(events.AccountStream(id), uint64(i)+2, ulid.Make(), time.Now(), events.Metadata{}, p)
		if err != nil {
			t.Fatal(err)
		}
		evs = append(evs, e)
	}
	if _, err := n.store.Append(t.Context(), events.AccountStream(id), 1, nil, evs); err != nil {
		t.Fatal(err)
	}
	a, err := n.another().Load(t.Context(), id)
	if err != nil || a.Version != updates+1 || a.Profile.Alias != fmt.Sprint(updates-1) {
		t.Errorf("folded to version %d, alias %s, %v", a.Version, a.Profile.Alias, err)
	}
}

// Outcomes share the states of the cache, so none of these is ever changed.
func TestOutcomesAreNotChangedByLaterCommands(t *testing.T) {
	n := newNode(t)
	id := n.open(t, "anna")
	first := n.do(t, id, alias("a"))
	before := *first.Account
	same := n.do(t, id, alias("a"))
	n.do(t, id, alias("b"))
	n.do(t, id, Erase{})
	if !reflect.DeepEqual(*first.Account, before) || !reflect.DeepEqual(*same.Account, before) {
		t.Errorf("was %+v\nis  %+v\nand %+v", before, *first.Account, *same.Account)
	}
}

// States are shared, so they are finished before anybody is answered: the race
// detector sees a write that comes later.
func TestStatesAreCompleteWhenTheyAreAnswered(t *testing.T) {
	n := newNode(t)
	id := n.open(t, "anna")
	for _, err := range all(200, func(i int) error {
		c := &Update{} // nothing: its outcome is the state of others
		if i%10 == 0 {
			c = alias(fmt.Sprint(i))
		}
		out, err := n.Do(t.Context(), id, events.Metadata{}, c)
		if err == nil && out.Account.Position != out.Account.Version {
			t.Errorf("version %d at position %d", out.Account.Version, out.Account.Position)
		}
		return err
	}) {
		if err != nil {
			t.Error(err)
		}
	}
}
