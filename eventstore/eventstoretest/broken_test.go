package eventstoretest

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"konto/eventstore"
	"konto/eventstore/memory"
)

// TestChecksPass is the other half of TestBrokenLogs: what fails there does not
// fail because of how it is run.
func TestChecksPass(t *testing.T) {
	if failed := failing(t, func() eventstore.Log { return memory.New() }); len(failed) > 0 {
		t.Errorf("a log that is right fails %q", failed)
	}
}

// TestBrokenLogs runs the suite against a log with one fault at a time and
// wants the check that is there for it to fail. A check that no fault makes
// fail may be one that cannot fail.
func TestBrokenLogs(t *testing.T) {
	caught := make(map[string]bool)
	all := maps.Clone(faults)
	maps.Copy(all, receiptFaults)
	maps.Copy(all, listingFaults)
	maps.Copy(all, replacingFaults)
	maps.Copy(all, tellingFaults)
	for name, fault := range all {
		t.Run(name, func(t *testing.T) {
			failed := failing(t, func() eventstore.Log { return fault.in(memory.New()) })
			if !slices.Contains(failed, fault.caughtBy) {
				t.Errorf("not caught by %q, but by %q", fault.caughtBy, failed)
			}
			for _, check := range failed {
				caught[check] = true
			}
		})
	}
	for _, check := range Checks() {
		if !caught[check.Name] {
			t.Errorf("no broken log fails %q", check.Name)
		}
	}
}

func TestForgetfulLog(t *testing.T) {
	var rec recorder
	rec.run(t, func(ctx context.Context, t T) {
		checkReopened(ctx, t, memory.New(), func(eventstore.Log) eventstore.Log { return memory.New() })
	})
	if len(rec.failures) == 0 {
		t.Error("a log that is empty after reopening passes")
	}
}

// failing runs all checks and returns the names of those that fail.
func failing(t *testing.T, open func() eventstore.Log) (names []string) {
	for _, check := range Checks() {
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

// recorder is a T that keeps failures to itself.
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

// Fatalf ends the goroutine, as that of *testing.T does.
func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

// run calls check where time passes only when all goroutines are stuck, so that
// a log that hangs exhausts the suite's patience at once.
func (r *recorder) run(t *testing.T, check func(context.Context, T)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		done := make(chan struct{})
		go func() {
			defer close(done)
			check(ctx, r)
		}()
		<-done
	})
}
