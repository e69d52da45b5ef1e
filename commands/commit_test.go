package commands

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
)

// queued runs the commands on one account so that the first one is in its append
// while all others wait in order, and returns what each came to and how many
// appends they took. It calls meanwhile before the append goes on. It must run
// in a synctest bubble.
func (n *node) queued(t *testing.T, id ulid.ULID, commands []Command, meanwhile func()) (outcomes []Outcome, errs []error, appends int) {
	t.Helper()
	before := n.log.count()
	outcomes, errs = make([]Outcome, len(commands)), make([]error, len(commands))
	hold := make(chan struct{})
	n.log.set(func(ctx context.Context, b eventstore.Batch, log eventstore.Log) (uint64, error) {
		<-hold
		return log.Append(ctx, b)
	})
	for i, c := range commands {
		go func() { outcomes[i], errs[i] = n.Do(t.Context(), id, events.Metadata{}, c) }()
		synctest.Wait()
	}
	meanwhile()
	close(hold)
	synctest.Wait()
	n.log.set(nil)
	return outcomes, errs, n.log.count() - before
}

func TestWaitingCommandsShareAnAppend(t *testing.T) {
	synctest.Test(t, testWaitingCommandsShareAnAppend)
}

func testWaitingCommandsShareAnAppend(t *testing.T) {
	for _, tt := range []struct{ commands, appends int }{{2, 2}, {64, 2}, {1 + maxBatch, 2}, {2 + maxBatch, 3}, {201, 5}} {
		n := newNode(t)
		id := n.open(t, "anna")
		var commands []Command
		for i := range tt.commands {
			commands = append(commands, alias(fmt.Sprint(i)))
		}
		outcomes, errs, appends := n.queued(t, id, commands, func() {})
		if appends != tt.appends {
			t.Errorf("%d commands took %d appends, want %d", tt.commands, appends, tt.appends)
		}
		evs := n.history(t, id)[1:]
		if len(evs) != tt.commands {
			t.Fatalf("%d events, want %d", len(evs), tt.commands)
		}
		for i, o := range outcomes {
			p, err := evs[i].Payload()
			if err != nil || errs[i] != nil {
				t.Fatal(err, errs[i])
			}
			if p != alias(fmt.Sprint(i)).Profile || o.Account.Profile.Alias != fmt.Sprint(i) ||
				o.Account.Version != evs[i].Version || o.Account.Position != evs[i].Position || !o.Changed {
				t.Errorf("command %d came to %+v, but event %+v", i, o, evs[i])
			}
		}
		if len(n.queues.of) != 0 {
			t.Error("the queue is not deleted")
		}
	}
}

func TestEachCommandOfABatchHasItsOwnOutcome(t *testing.T) {
	synctest.Test(t, testEachCommandOfABatchHasItsOwnOutcome)
}

func testEachCommandOfABatchHasItsOwnOutcome(t *testing.T) {
	n := newNode(t)
	n.open(t, "taken")
	id := n.open(t, "anna")
	partial := email("taken@example.se")
	partial.Partial = true
	partial.Profile.FirstName = events.Set("Eva")
	match := alias("c")
	match.If.Match = &Versions{List: []uint64{1}}
	outcomes, errs, _ := n.queued(t, id, []Command{
		alias("a"),
		email("taken@example.se"),
		alias("b"),
		alias("b"),
		match,
		email("not an address"),
		partial,
		email("eva@example.se"),
	}, func() {})
	want := []error{nil, ErrTaken, nil, nil, ErrVersion, ErrInvalid, nil, nil}
	for i, err := range errs {
		if !errors.Is(err, want[i]) || (err == nil) != (want[i] == nil) {
			t.Errorf("command %d: %v, want %v", i, err, want[i])
		}
	}
	for i, changed := range []bool{true, false, true, false, false, false, true, true} {
		if outcomes[i].Changed != changed {
			t.Errorf("command %d changed: %v", i, outcomes[i].Changed)
		}
	}
	var mismatch *VersionMismatch
	if errors.As(errs[4], &mismatch) && mismatch.Actual != 3 {
		t.Errorf("told version %d, want 3", mismatch.Actual)
	}
	if a := outcomes[7].Account; a.Version != 5 || a.Email != "eva@example.se" || a.Profile.Alias != "b" || a.Profile.FirstName != "Eva" {
		t.Errorf("ended as %+v", a)
	}
}

// One account may pass an address on to itself within a batch: claims are
// taken and released in the commands' order.
func TestClaimsOfABatchFollowTheCommands(t *testing.T) {
	synctest.Test(t, testClaimsOfABatchFollowTheCommands)
}

func testClaimsOfABatchFollowTheCommands(t *testing.T) {
	n := newNode(t)
	id := n.open(t, "anna")
	_, errs, appends := n.queued(t, id, []Command{
		alias("a"), email("b@example.se"), email("anna@example.se"), email("c@example.se"),
	}, func() {})
	if err := errors.Join(errs...); err != nil || appends != 2 {
		t.Fatalf("%v after %d appends", err, appends)
	}
	for address, held := range map[string]bool{"anna@example.se": false, "b@example.se": false, "c@example.se": true} {
		if _, err := n.Find(t.Context(), events.EmailClaim(address)); (err == nil) != held {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestOneOfManyWithOneVersionWins(t *testing.T) {
	n := newNode(t)
	id := n.open(t, "anna")
	won := 0
	for _, err := range all(500, func(i int) error {
		update := alias(fmt.Sprint(i))
		update.If.Match = &Versions{List: []uint64{1}}
		_, err := n.Do(t.Context(), id, events.Metadata{}, update)
		return err
	}) {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, ErrVersion):
			t.Errorf("got %v", err)
		}
	}
	if got := len(n.history(t, id)); won != 1 || got != 2 {
		t.Errorf("%d won, %d events", won, got)
	}
}

func TestWaitingCallerCanLeave(t *testing.T) { synctest.Test(t, testWaitingCallerCanLeave) }

func testWaitingCallerCanLeave(t *testing.T) {
	n := newNode(t)
	id := n.open(t, "anna")
	hold := make(chan struct{})
	n.log.set(func(ctx context.Context, b eventstore.Batch, log eventstore.Log) (uint64, error) {
		<-hold
		return log.Append(ctx, b)
	})
	leading, leaderGone := context.WithCancel(t.Context())
	waiting, waiterGone := context.WithCancel(t.Context())
	errs := make([]error, 3)
	for i, ctx := range []context.Context{leading, waiting, t.Context()} {
		go func() { _, errs[i] = n.Do(ctx, id, events.Metadata{}, alias(fmt.Sprint(i))) }()
		synctest.Wait()
	}
	waiterGone()
	synctest.Wait()
	if !errors.Is(errs[1], context.Canceled) {
		t.Errorf("the waiting caller is still there: %v", errs[1])
	}
	// The leader's command is in the log's hands: it runs to its end, and so
	// does the one that waits for it.
	leaderGone()
	close(hold)
	synctest.Wait()
	if errs[0] != nil || errs[2] != nil {
		t.Errorf("others were hurt: %v, %v", errs[0], errs[2])
	}
	n.log.set(nil)
	if got := len(n.history(t, id)); got != 3 {
		t.Errorf("%d events, want the opening and two updates", got)
	}
}

func TestCommandOfAnEndedContextIsNotRun(t *testing.T) {
	n := newNode(t)
	id := n.open(t, "anna")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := n.Do(ctx, id, events.Metadata{}, alias("a")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if got := len(n.history(t, id)); got != 1 {
		t.Errorf("%d events", got)
	}
	n.do(t, id, alias("b")) // the queue is free
}

func TestLeadershipPassesOn(t *testing.T) { synctest.Test(t, testLeadershipPassesOn) }

func testLeadershipPassesOn(t *testing.T) {
	n := newNode(t)
	id := n.open(t, "anna")
	for range 50 { // which of its signals a caller sees first is random
		hold := make(chan struct{})
		n.log.set(func(ctx context.Context, b eventstore.Batch, log eventstore.Log) (uint64, error) {
			<-hold
			return log.Append(ctx, b)
		})
		second, secondGone := context.WithCancel(t.Context())
		errs := make([]error, 3)
		for i, ctx := range []context.Context{t.Context(), second, t.Context()} {
			go func() { _, errs[i] = n.Do(ctx, id, events.Metadata{}, alias(fmt.Sprint(i))) }()
			synctest.Wait()
		}
		// The second caller goes at the moment at which it would lead.
		close(hold)
		secondGone()
		synctest.Wait()
		if errs[0] != nil || errs[2] != nil || errs[1] != nil && !errors.Is(errs[1], context.Canceled) {
			t.Fatalf("got %v", errs)
		}
		if len(n.queues.of) != 0 {
			t.Fatal("the queue is not deleted")
		}
	}
}

func TestTheLeadersCallIsPartOfItsBatch(t *testing.T) {
	var qs queues
	id := ulid.Make()
	var calls []*call
	var q *queue
	for range maxBatch + 2 {
		calls = append(calls, &call{})
		q = qs.join(id, calls[len(calls)-1])
	}
	if batch := qs.take(q, calls[maxBatch]); len(batch) != maxBatch+1 || batch[maxBatch] != calls[maxBatch] {
		t.Errorf("took %d calls", len(batch))
	}
	if batch := qs.take(q, calls[0]); batch != nil {
		t.Errorf("took %d calls for a leader whose call was taken", len(batch))
	}
	if qs.withdraw(q, calls[0]) || !qs.withdraw(q, calls[maxBatch+1]) || qs.withdraw(q, calls[maxBatch+1]) {
		t.Error("a call can be withdrawn once, until a leader takes it")
	}
	for range calls {
		qs.leave(id, q)
	}
	if len(qs.of) != 0 {
		t.Error("the queue is not deleted")
	}
}

func TestUnknownOutcomeIsAnErrorAndEvictsTheState(t *testing.T) {
	for _, tt := range []struct {
		name    string
		stored  bool
		version uint64 // after the next command
	}{{"stored", true, 3}, {"not stored", false, 2}} {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(t)
			id := n.open(t, "anna")
			n.log.set(func(ctx context.Context, b eventstore.Batch, log eventstore.Log) (uint64, error) {
				if tt.stored {
					if _, err := log.Append(ctx, b); err != nil {
						return 0, err
					}
				}
				return 0, eventstore.ErrOutcomeUnknown
			})
			if outcome, err := n.Do(t.Context(), id, events.Metadata{}, alias("a")); !errors.Is(err, eventstore.ErrOutcomeUnknown) || outcome.Changed {
				t.Errorf("acknowledged %+v, %v", outcome, err)
			}
			if _, ok := n.cache.Peek(id); ok {
				t.Error("the state is still cached")
			}
			n.log.set(nil)
			if got := n.do(t, id, alias("b")).Account.Version; got != tt.version {
				t.Errorf("version %d, want %d", got, tt.version)
			}
		})
	}
}

func TestUnknownOutcomeIsTheErrorOfTheWholeBatch(t *testing.T) {
	synctest.Test(t, testUnknownOutcomeIsTheErrorOfTheWholeBatch)
}

func testUnknownOutcomeIsTheErrorOfTheWholeBatch(t *testing.T) {
	n := newNode(t)
	id := n.open(t, "anna")
	_, errs, _ := n.queued(t, id, []Command{alias("a"), alias("b"), alias("c")}, func() {
		n.log.set(func(context.Context, eventstore.Batch, eventstore.Log) (uint64, error) {
			return 0, eventstore.ErrOutcomeUnknown
		})
	})
	if errs[0] != nil || !errors.Is(errs[1], eventstore.ErrOutcomeUnknown) || !errors.Is(errs[2], eventstore.ErrOutcomeUnknown) {
		t.Errorf("got %v", errs)
	}
}

func TestHangingAppendTimesOut(t *testing.T) { synctest.Test(t, testHangingAppendTimesOut) }

func testHangingAppendTimesOut(t *testing.T) {
	n := newNode(t)
	id := n.open(t, "anna")
	n.log.set(func(ctx context.Context, _ eventstore.Batch, _ eventstore.Log) (uint64, error) {
		<-ctx.Done()
		return 0, eventstore.ErrOutcomeUnknown
	})
	if _, err := n.Do(t.Context(), id, events.Metadata{}, alias("a")); !errors.Is(err, eventstore.ErrOutcomeUnknown) {
		t.Errorf("got %v", err)
	}
}

func TestClosedLogIsAnError(t *testing.T) {
	n := newNode(t)
	id := n.open(t, "anna")
	n.log.Close()
	for _, c := range []Command{alias("a"), &Update{}} {
		if _, err := n.Do(t.Context(), id, events.Metadata{}, c); !errors.Is(err, eventstore.ErrClosed) {
			t.Errorf("got %v", err)
		}
	}
	if _, err := n.Load(t.Context(), id); !errors.Is(err, eventstore.ErrClosed) {
		t.Errorf("Load: %v", err)
	}
	if _, err := n.Find(t.Context(), events.EmailClaim("a@b.se")); !errors.Is(err, eventstore.ErrClosed) {
		t.Errorf("Find: %v", err)
	}
}

func TestPanickingLeaderLeavesNobodyWaiting(t *testing.T) {
	synctest.Test(t, testPanickingLeaderLeavesNobodyWaiting)
}

func testPanickingLeaderLeavesNobodyWaiting(t *testing.T) {
	n := newNode(t)
	id := n.open(t, "anna")
	hold := make(chan struct{})
	n.log.set(func(ctx context.Context, b eventstore.Batch, log eventstore.Log) (uint64, error) {
		<-hold
		if len(b.Records) == 2 {
			panic("broken")
		}
		return log.Append(ctx, b)
	})
	errs, panics := make([]error, 3), make([]any, 3)
	for i, c := range []Command{alias("a"), alias("b"), alias("c")} {
		go func() {
			defer func() { panics[i] = recover() }()
			_, errs[i] = n.Do(t.Context(), id, events.Metadata{}, c)
		}()
		synctest.Wait()
	}
	close(hold)
	synctest.Wait()
	if errs[0] != nil || panics[1] == nil || !errors.Is(errs[2], errAbandoned) {
		t.Errorf("errors %v, panics %v", errs, panics)
	}
	n.log.set(nil)
	n.do(t, id, alias("d"))
}
