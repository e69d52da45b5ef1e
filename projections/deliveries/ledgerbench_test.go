package deliveries

import (
	"testing"

	"github.com/oklog/ulid/v2"
)

// Settlements of 64 accounts at a time.
func BenchmarkSettle(b *testing.B) {
	book := newBook(b)
	party, e := ulid.Make(), book.happen()
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			s := book.settlement(party, e, OutcomeDelivered, "thanks")
			s.Lane.Account = ulid.Make()
			if err := book.Settle(b.Context(), s); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "settled/s")
}
