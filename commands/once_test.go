package commands

import (
	"bytes"
	"context"
	"crypto/cipher"
	"errors"
	"path/filepath"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/keyring"
)

// once names a request whose content is its fingerprint.
func once(name string, content byte) Once {
	return Once{Name: name, Fingerprint: [32]byte{content}, At: time.Date(2026, 4, 27, 12, 0, 0, 0, time.UTC)}
}

func (n *node) doOnce(t testing.TB, id ulid.ULID, o Once, c Command) Outcome {
	t.Helper()
	out, err := n.DoOnce(t.Context(), id, events.Metadata{}, o, c)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// requireReplay wants an outcome to be what the request came to the first time.
func requireReplay(t testing.TB, got, first Outcome) {
	t.Helper()
	if !got.Replayed || got.Changed || !got.At.Equal(first.At) ||
		!reflect.DeepEqual(got.Account, first.Account) || !reflect.DeepEqual(got.Rejected, first.Rejected) {
		t.Errorf("replayed\n%+v\nafter\n%+v", got, first)
	}
}

func TestRequestIsCarriedOutOnce(t *testing.T) {
	taken := email("taken@example.se")
	taken.Partial, taken.Profile.Alias = true, events.Set("a")
	at1 := alias("a")
	at1.If.Match = &Versions{List: []uint64{1}}
	for name, test := range map[string]struct {
		command Command
		changed bool
	}{
		"a change":                     {alias("a"), true},
		"two events":                   {&Update{Email: events.Set("eva@example.se"), Profile: alias("a").Profile}, true},
		"no change":                    {email("anna@example.se"), false},
		"a part of what was asked":     {taken, true},
		"at a version that is gone":    {at1, true},
		"facts, which are no update's": {RecordFacts{Facts: events.FactsRecorded{PendingOrder: events.Set("1")}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			n.open(t, "taken")
			id := n.open(t, "anna")
			first := n.doOnce(t, id, once("r", 1), test.command)
			if first.Replayed || first.Changed != test.changed {
				t.Errorf("the first time: %+v", first)
			}
			requireReplay(t, n.doOnce(t, id, once("r", 1), test.command), first)
			n.do(t, id, alias("later")) // what is answered is of then, not of now
			appends, history := n.log.count(), len(n.history(t, id))
			requireReplay(t, n.doOnce(t, id, once("r", 1), test.command), first)
			requireReplay(t, n.another().doOnce(t, id, once("r", 1), test.command), first)
			if n.log.count() != appends || len(n.history(t, id)) != history {
				t.Error("a replay appended something")
			}
		})
	}
}

func TestKeyBelongsToOneRequest(t *testing.T) {
	n := newNode(t)
	id, bo := n.open(t, "anna"), n.open(t, "bo")
	n.doOnce(t, id, once("r", 1), alias("a"))
	for _, account := range []ulid.ULID{id, bo} {
		if _, err := n.DoOnce(t.Context(), account, events.Metadata{}, once("r", 2), alias("b")); !errors.Is(err, ErrReused) {
			t.Errorf("got %v", err)
		}
	}
	if got := n.doOnce(t, id, once("s", 1), alias("b")); got.Replayed || !got.Changed {
		t.Errorf("under another name: %+v", got)
	}
}

func TestRefusedRequestIsDecidedAgain(t *testing.T) {
	n := newNode(t)
	bo, id := n.open(t, "bo"), n.open(t, "anna")
	wanted := email("bo@example.se")
	if _, err := n.DoOnce(t.Context(), id, events.Metadata{}, once("r", 1), wanted); !errors.Is(err, ErrTaken) {
		t.Fatalf("got %v", err)
	}
	n.do(t, bo, email("bo2@example.se"))
	if got := n.doOnce(t, id, once("r", 1), wanted); got.Replayed || got.Account.Email != "bo@example.se" {
		t.Errorf("got %+v", got)
	}
}

// A client whose answers get lost must not use up its tries with one wrong code.
func TestStoredRefusalIsStoredOnce(t *testing.T) {
	n := newNode(t)
	id := n.open(t, "anna")
	n.do(t, id, RequestEmailChange{NewEmail: "new@example.se"})
	ask := func(i int) error {
		out, err := n.DoOnce(t.Context(), id, events.Metadata{}, once("w", 1), ConfirmEmailChange{Code: "wrong"})
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("request %d: %v", i, err)
		}
		if i > 0 && !out.Replayed {
			t.Errorf("request %d was carried out again", i)
		}
		return err
	}
	ask(0)
	for i, err := range all(20, func(i int) error { return ask(i + 1) }) {
		var refused *Invalid
		if !errors.As(err, &refused) || len(refused.Fields) != 1 || refused.Fields[0].Code != CodeIncorrect {
			t.Errorf("repeat %d is told %v", i, err)
		}
	}
	if got, want := n.types(t, id), "AccountOpened EmailChangeRequested EmailChangeAttemptFailed"; got != want {
		t.Errorf("history %s", got)
	}
}

// The same before the first one is answered: one batch may hold all of them.
func TestConcurrentStoredRefusalsAreStoredOnce(t *testing.T) {
	n := newNode(t)
	id := n.open(t, "anna")
	n.do(t, id, RequestEmailChange{NewEmail: "new@example.se"})
	for _, err := range all(40, func(int) error {
		_, err := n.DoOnce(t.Context(), id, events.Metadata{}, once("w", 1), ConfirmEmailChange{Code: "wrong"})
		return err
	}) {
		if !errors.Is(err, ErrInvalid) {
			t.Error(err)
		}
	}
	if got, want := n.types(t, id), "AccountOpened EmailChangeRequested EmailChangeAttemptFailed"; got != want {
		t.Errorf("history %s", got)
	}
}

func TestAddressesThatMailCannotReachAreRefused(t *testing.T) {
	n := newNode(t)
	id := n.open(t, "anna")
	for _, address := range []string{`a"b@c.se`, "a,b@c.se", "a<b@c.se", "a:b@c.se", ".a@b.se"} {
		for _, c := range []Command{RequestEmailChange{NewEmail: address}, &Update{VerifyEmail: true, Email: events.Set(address)}} {
			if _, err := n.Do(t.Context(), id, events.Metadata{}, c); !errors.Is(err, ErrInvalid) {
				t.Errorf("%T with %s: %v", c, address, err)
			}
		}
	}
}

func TestRepeatsWithinABatch(t *testing.T) { synctest.Test(t, testRepeatsWithinABatch) }

func testRepeatsWithinABatch(t *testing.T) {
	n := newNode(t)
	id := n.open(t, "anna")
	requests := []struct {
		once    Once
		command Command
	}{
		{Once{}, alias("a")}, // appends while the others gather
		{once("r", 1), alias("b")},
		{once("r", 1), alias("b")},
		{once("s", 1), alias("b")}, // no change
		{once("s", 1), alias("b")},
		{once("r", 2), alias("c")},
		{once("x", 1), email("no address")},
		{once("x", 1), alias("d")},
		{once("r", 1), alias("b")},
	}
	outs, errs := make([]Outcome, len(requests)), make([]error, len(requests))
	hold, before := make(chan struct{}), n.log.count()
	n.log.set(func(ctx context.Context, b eventstore.Batch, log eventstore.Log) (uint64, error) {
		<-hold
		return log.Append(ctx, b)
	})
	for i, r := range requests {
		go func() { outs[i], errs[i] = n.DoOnce(t.Context(), id, events.Metadata{}, r.once, r.command) }()
		synctest.Wait()
	}
	close(hold)
	synctest.Wait()
	for i, err := range errs {
		want := map[int]error{5: ErrReused, 6: ErrInvalid}[i]
		if !errors.Is(err, want) {
			t.Errorf("request %d: %v, want %v", i, err, want)
		}
	}
	for repeat, first := range map[int]int{2: 1, 8: 1, 4: 3} {
		requireReplay(t, outs[repeat], outs[first])
	}
	if outs[7].Replayed || outs[7].Account.Version != 4 {
		t.Errorf("after a refusal under its name: %+v", outs[7])
	}
	if got := len(n.history(t, id)); got != 4 || n.log.count()-before != 2 {
		t.Errorf("%d events in %d appends", got, n.log.count()-before)
	}
	requireReplay(t, n.another().doOnce(t, id, requests[1].once, requests[1].command), outs[1])
}

// Another node is faster with the same request, between the look-up and the append.
func TestConcurrentRequestsRunOnce(t *testing.T) {
	at1 := alias("a")
	at1.If.Match = &Versions{List: []uint64{1}}
	for name, command := range map[string]Command{
		"a change": alias("a"), "no change": &Update{}, "at one version": at1,
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			other := n.another()
			id := n.open(t, "anna")
			var first Outcome
			n.log.set(func(ctx context.Context, b eventstore.Batch, log eventstore.Log) (uint64, error) {
				n.log.set(nil)
				first = other.doOnce(t, id, once("r", 1), command)
				return log.Append(ctx, b)
			})
			requireReplay(t, n.doOnce(t, id, once("r", 1), command), first)
			if first.Account.Version == 0 || uint64(len(n.history(t, id))) != first.Account.Version {
				t.Errorf("%d events, %+v", len(n.history(t, id)), first)
			}
		})
	}
}

// Every request to open an account brings an id of its own.
func TestAccountIsOpenedOnce(t *testing.T) {
	n := newNode(t)
	const requests = 64
	outs := make([]Outcome, requests)
	errs := all(requests, func(i int) (err error) {
		outs[i], err = n.DoOnce(t.Context(), ulid.Make(), events.Metadata{}, once("r", 1), Open{Email: "anna@example.se", PaywayID: NewPaywayID()})
		return err
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	opened := 0
	for _, out := range outs {
		if !out.Replayed {
			opened++
		}
		if out.Account.ID != outs[0].Account.ID || out.Account.PaywayID != outs[0].Account.PaywayID {
			t.Errorf("account %s, not %s", out.Account.ID, outs[0].Account.ID)
		}
	}
	if head, err := n.store.Head(t.Context()); opened != 1 || head != 1 || err != nil {
		t.Errorf("%d opened, %d events, %v", opened, head, err)
	}
}

func TestRepetitionAfterAnUnknownOutcome(t *testing.T) {
	for _, stored := range []bool{true, false} {
		n := newNode(t)
		id := n.open(t, "anna")
		n.log.set(func(ctx context.Context, b eventstore.Batch, log eventstore.Log) (uint64, error) {
			if stored {
				if _, err := log.Append(ctx, b); err != nil {
					return 0, err
				}
			}
			return 0, eventstore.ErrOutcomeUnknown
		})
		if _, err := n.DoOnce(t.Context(), id, events.Metadata{}, once("r", 1), alias("a")); !errors.Is(err, eventstore.ErrOutcomeUnknown) {
			t.Fatalf("got %v", err)
		}
		n.log.set(nil)
		out := n.doOnce(t, id, once("r", 1), alias("a"))
		if out.Replayed != stored || out.Account.Version != 2 || len(n.history(t, id)) != 2 {
			t.Errorf("stored %v: %+v", stored, out)
		}
	}
}

func TestReceiptsExpireAfterADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		id := n.open(t, "anna")
		n.doOnce(t, id, once("r", 1), alias("a"))
		time.Sleep(onceFor - time.Second) // the bubble's clock
		if out := n.doOnce(t, id, once("r", 1), alias("b")); !out.Replayed {
			t.Errorf("within a day: %+v", out)
		}
		time.Sleep(2 * time.Second)
		if out := n.doOnce(t, id, once("r", 2), alias("b")); out.Replayed || out.Account.Version != 3 {
			t.Errorf("after a day: %+v", out)
		}
	})
}

// forgetting is a keyring that lost one stream's key.
type forgetting struct {
	eventstore.Keys
	stream events.Stream
}

func (k forgetting) Cipher(ctx context.Context, stream events.Stream) (cipher.AEAD, error) {
	if stream == k.stream {
		return nil, eventstore.ErrDestroyed
	}
	return k.Keys.Cipher(ctx, stream)
}

func TestReceiptsAreErasedWithTheirAccount(t *testing.T) {
	n := newNode(t)
	keys, err := keyring.Open(t.Context(), filepath.Join(t.TempDir(), "keys.db"), bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	defer keys.Close()
	n.Accounts = NewAccounts(Config{Store: eventstore.NewStore(n.log, keys)})
	id := ulid.Make()
	n.doOnce(t, id, once("r", 1), Open{Email: "anna@example.se", PaywayID: NewPaywayID()})
	erased := NewAccounts(Config{Store: eventstore.NewStore(n.log, forgetting{keys, events.AccountStream(id)})})
	again := Open{Email: "eva@example.se", PaywayID: NewPaywayID()}
	if out, err := erased.DoOnce(t.Context(), ulid.Make(), events.Metadata{}, once("r", 1), again); !errors.Is(err, ErrReused) {
		t.Errorf("got %+v, %v", out, err)
	}
}
