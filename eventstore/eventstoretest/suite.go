package eventstoretest

import (
	"context"
	"testing"
	"time"

	"konto/eventstore"
)

// patience ends a check that hangs. It is long, because it is spent only by a
// backend that is wrong.
const patience = 30 * time.Second

// T is what a check needs of a *testing.T. The suite's own tests put another in
// its place, to see broken backends fail.
type T interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Backend opens logs for the suite.
type Backend struct {
	// Open makes an empty log. The suite closes it.
	Open func(t testing.TB) eventstore.Log

	// Reopen opens again what a closed log left behind, as after a restart. It
	// is nil for a backend that keeps nothing.
	Reopen func(t testing.TB, closed eventstore.Log) eventstore.Log
}

// Check is one promise of the contract.
type Check struct {
	Name string
	// Run reports to t where log, which is empty, does not keep the promise.
	Run func(ctx context.Context, t T, log eventstore.Log)
}

// Run checks a backend against the whole contract.
func Run(t *testing.T, b Backend) {
	for _, check := range Checks() {
		t.Run(check.Name, func(t *testing.T) {
			log := b.Open(t)
			defer closeLog(t, log)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			check.Run(ctx, t, log)
		})
	}
	if b.Reopen != nil {
		t.Run(durable, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			checkReopened(ctx, t, b.Open(t), func(closed eventstore.Log) eventstore.Log { return b.Reopen(t, closed) })
		})
	}
}

// Checks lists all promises that one log can be asked for.
func Checks() []Check {
	var all []Check
	for _, room := range [][]Check{appending, claiming, replacing, listing, receipting, dropping, reading, waiting, telling, racing, closing} {
		all = append(all, room...)
	}
	return all
}

func closeLog(t T, log eventstore.Log) {
	t.Helper()
	if err := log.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// durable names what checkReopened checks.
const durable = "what was acknowledged is there after reopening"

// checkReopened fills a log, opens it again, and goes on where it ended.
func checkReopened(ctx context.Context, t T, log eventstore.Log, reopen func(eventstore.Log) eventstore.Log) {
	stream, key := newStream(), newKey()
	left := leaving(batch(stream, 0, 3, take(key)), newReceipt())
	first := mustAppend(ctx, t, log, left)
	other := mustAppend(ctx, t, log, batch(newStream(), 0, 1))
	want := feed(ctx, t, log, other)
	closeLog(t, log)

	log = reopen(log)
	defer closeLog(t, log)
	expectRecords(t, "the feed after reopening", feed(ctx, t, log, other), want)
	expectHolder(ctx, t, log, key, stream)
	expectHead(ctx, t, log, stream, eventstore.StreamHead{Version: 3, Position: first})
	expectConflict(ctx, t, log, batch(stream, 0, 1), 3)
	expectTaken(ctx, t, log, batch(newStream(), 0, 1, take(key)), key, stream)
	expectReceipt(ctx, t, log, left.Receipts[0].Key, stream, left.Receipts[0].Data)
	expectRepeated(ctx, t, log, left, left.Receipts[0].Key, stream)
	if next := mustAppend(ctx, t, log, batch(stream, 3, 1)); next <= other {
		t.Errorf("after reopening a record got position %d, which does not follow %d", next, other)
	}
}
