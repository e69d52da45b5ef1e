// Package eventstoretest is the conformance suite of eventstore.Log and AdminLog. It decides what the
// comments in eventstore mean: a backend is correct if it passes Run.
//
// The suite does not know how a backend works. It waits for the feed before it reads it,
// because the feed may lag behind appends on another node.
package eventstoretest

import (
	"context"
	"slices"
	"testing"
	"time"

	"konto/eventstore"
)

// timeout ends a check that hangs. It is long, because only a wrong backend reaches it.
const timeout = 30 * time.Second

// T is the part of *testing.T that a check uses. The suite's own tests use another
// implementation, to see that broken backends fail.
type T interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Backend opens logs for the suite.
type Backend struct {
	// Open returns an empty log. The suite closes it.
	Open func(t testing.TB) eventstore.Log

	// OpenAnother opens the store of a log once more, as another node does. If only one
	// node can open the store, it returns the log itself. The suite closes both.
	OpenAnother func(t testing.TB, log eventstore.Log) eventstore.Log

	// Reopen opens the store of a closed log, as after a restart. It is nil if the backend
	// stores nothing durably.
	Reopen func(t testing.TB, closed eventstore.Log) eventstore.Log

	// Admin must be set if the backend's logs implement eventstore.AdminLog.
	Admin *Admin
}

// Check is one rule of the contract.
type Check struct {
	Name string
	// Run reports violations to t. log is empty.
	Run func(ctx context.Context, t T, log eventstore.Log)
}

// Run checks a backend against the whole contract.
func Run(t *testing.T, b Backend) {
	another := func(log eventstore.Log) eventstore.Log { return b.OpenAnother(t, log) }
	for _, check := range append(Checks(), NodeChecks(another)...) {
		t.Run(check.Name, func(t *testing.T) {
			log := b.Open(t)
			defer closeLog(t, log)
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			check.Run(ctx, t, log)
		})
	}
	b.runAdmin(t)
	if b.Reopen != nil {
		t.Run("acknowledged appends exist after reopening", func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			checkReopened(ctx, t, b.Open(t), func(closed eventstore.Log) eventstore.Log { return b.Reopen(t, closed) })
		})
	}
}

// runAdmin checks what only an AdminLog has.
func (b Backend) runAdmin(t *testing.T) {
	if b.Admin == nil {
		log := b.Open(t)
		defer closeLog(t, log)
		if _, ok := log.(eventstore.AdminLog); ok {
			t.Error("an AdminLog needs Backend.Admin")
		}
		return
	}
	for _, check := range AdminChecks() {
		t.Run(check.Name, func(t *testing.T) {
			log := b.Open(t).(eventstore.AdminLog)
			defer closeLog(t, log)
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			check.Run(ctx, t, log, *b.Admin)
		})
	}
}

// Checks returns the checks of a single log.
func Checks() []Check {
	return slices.Concat(appending, claiming, listing, replacing, receipting, dropping, reading, waiting, racing, closing)
}

// NodeChecks returns the checks of two logs on one store. another opens the second log.
func NodeChecks(another func(eventstore.Log) eventstore.Log) []Check {
	checks := make([]Check, len(sharing))
	for i, c := range sharing {
		checks[i] = Check{c.name, func(ctx context.Context, t T, log eventstore.Log) {
			other := another(log)
			defer closeLog(t, other)
			c.run(ctx, t, log, other)
		}}
	}
	return checks
}

func closeLog(t T, log eventstore.Log) {
	t.Helper()
	if err := log.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// checkReopened fills a log, reopens it, and continues.
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
	if next := mustAppend(ctx, t, log, batch(stream, 3, 1)); next != other+1 {
		t.Errorf("after reopening a record got position %d, not %d", next, other+1)
	}
}
