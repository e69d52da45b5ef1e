package deliveries

import (
	"context"
	"fmt"
	"syscall"
	"testing"

	"github.com/oklog/ulid/v2"
)

// BenchmarkSave saves the results of so many accounts at a time. With one at a time each
// result has a commit of its own.
func BenchmarkSave(b *testing.B) {
	for _, waiting := range []int{1, 64} {
		b.Run(fmt.Sprintf("waiting=%d", waiting), func(b *testing.B) {
			harness := newStoreHarness(b)
			party := ulid.Make()
			turns := make(chan result, waiting)
			done := make(chan error, waiting)
			for range waiting {
				go func() {
					for s := range turns {
						done <- harness.store(context.Background(), s)
					}
				}()
			}
			defer close(turns)
			e := harness.happen()
			b.ReportAllocs()
			began := processorTime(b)
			b.ResetTimer()
			for i := range b.N {
				s := harness.result(party, e, OutcomeDelivered, "thanks")
				// Each is of a later event, as deliveries are.
				s.Delivery.Account, s.Delivery.Position, s.Attempt.Position = ulid.Make(), uint64(i+1), uint64(i+1)
				if i >= waiting {
					if err := <-done; err != nil {
						b.Fatal(err)
					}
				}
				turns <- s
			}
			for range min(waiting, b.N) {
				<-done
			}
			b.ReportMetric(float64(processorTime(b)-began)/float64(b.N), "cpu-µs/op")
		})
	}
}

// processorTime is what the process has taken so far, in microseconds: the time of a
// save is mostly that of the disk.
func processorTime(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return (u.Utime.Nano() + u.Stime.Nano()) / 1000
}
