package nats

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

// BenchmarkPublish publishes updates of ten thousand accounts, in batches as long as
// the publisher is behind. cpu-ns/event is what all of the process spends, the embedded
// server included.
func BenchmarkPublish(b *testing.B) {
	for _, size := range []int{1, 50, 500} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			r := newFixture(b)
			r.start()
			r.account(1)
			made, err := r.store.ReadAll(b.Context(), 0, 1)
			must(b, err)
			accounts := make([]events.Stream, 10_000)
			for i := range accounts {
				accounts[i] = events.AccountStream(ulid.Make())
			}
			p := r.publisher()
			must(b, p.Open(b.Context()))
			batch := make([]events.Event, size)
			var position uint64
			b.ReportAllocs()
			b.ResetTimer()
			began := spent(b)
			for position < uint64(b.N) {
				for i := range batch {
					batch[i] = made[0]
					batch[i].Stream = accounts[position%uint64(len(accounts))]
					position++
					batch[i].Position, batch[i].ID = position, ulid.Make()
				}
				must(b, p.Apply(b.Context(), batch))
			}
			b.ReportMetric(float64((spent(b)-began).Nanoseconds())/float64(position), "cpu-ns/event")
			b.ReportMetric(float64(position)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// spent returns the processor time of this process.
func spent(b *testing.B) time.Duration {
	var u syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
