package eventstoretest

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"konto/eventstore"
	"konto/eventstore/memory"
)

func openMemory() eventstore.Log { return memory.New() }

func openAnother(log eventstore.Log) eventstore.Log { return log.(*memory.Log).OpenAnother() }

// TestACorrectLogPasses shows that a fault makes a check fail in TestBrokenLogsFail, and not
// the way in which the check is run there.
func TestACorrectLogPasses(t *testing.T) {
	if failed := failing(t, append(Checks(), NodeChecks(openAnother)...), openMemory); len(failed) > 0 {
		t.Errorf("a correct log fails %q", failed)
	}
}

// TestBrokenLogsFail runs the suite against logs with one fault each. The check for the fault
// must fail, and there must be a fault for each check: otherwise the check may be unable
// to fail.
func TestBrokenLogsFail(t *testing.T) {
	caught := make(map[string]bool)
	catch := func(name string, fault fault, run func(t *testing.T) (failed []string)) {
		t.Run(name, func(t *testing.T) {
			failed := run(t)
			if !slices.Contains(failed, fault.caughtBy) {
				t.Errorf("%q passes; failed are %q", fault.caughtBy, failed)
			}
			for _, check := range failed {
				caught[check] = true
			}
		})
	}
	for _, faults := range []map[string]fault{faults, receiptFaults, claimFaults} {
		for name, fault := range faults {
			catch(name, fault, func(t *testing.T) []string {
				return failing(t, Checks(), func() eventstore.Log { return fault.in(memory.New()) })
			})
		}
	}
	for name, fault := range nodeFaults { // in one of two logs
		catch(name, fault, func(t *testing.T) []string {
			another := func(log eventstore.Log) eventstore.Log { return fault.in(openAnother(log)) }
			return failing(t, NodeChecks(another), openMemory)
		})
	}
	for _, check := range append(Checks(), NodeChecks(openAnother)...) {
		if !caught[check.Name] {
			t.Errorf("no broken log fails %q", check.Name)
		}
	}
}

func TestALogThatIsEmptyAfterReopeningFails(t *testing.T) {
	var rec recorder
	rec.run(t, func(ctx context.Context, t T) {
		checkReopened(ctx, t, memory.New(), func(eventstore.Log) eventstore.Log { return memory.New() })
	})
	if len(rec.failures) == 0 {
		t.Error("a log that is empty after reopening passes")
	}
}

// failing runs checks and returns the names of those that fail.
func failing(t *testing.T, checks []Check, open func() eventstore.Log) (names []string) {
	for _, check := range checks {
		var rec recorder
		rec.run(t, func(ctx context.Context, t T) {
			log := open()
			defer log.Close()
			check.Run(ctx, t, log)
		})
		if len(rec.failures) > 0 {
			names = append(names, check.Name)
		}
	}
	return names
}

// recorder is a T that only records failures.
type recorder struct {
	mu       sync.Mutex
	failures []string
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

// Fatalf ends the goroutine, as *testing.T does.
func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

// run runs a check in a bubble where time passes only when all goroutines are blocked, so that
// a log that hangs reaches the timeout at once.
func (r *recorder) run(t *testing.T, check func(context.Context, T)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		done := make(chan struct{})
		go func() {
			defer close(done)
			check(ctx, r)
		}()
		<-done
	})
}
