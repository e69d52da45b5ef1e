package deliveries

import (
	"fmt"
	"testing"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

// BenchmarkUnwanted is what an event costs that no third party wants to hear of:
// taken in by the feed, in batches of 50, and passed over by each.
func BenchmarkUnwanted(b *testing.B) {
	for _, parties := range []int{0, 1, 10} {
		b.Run(fmt.Sprintf("parties=%d", parties), func(b *testing.B) {
			h := newHarness(b)
			h.start()
			h.append(events.AccountStream(ulid.Make()), ulid.Make(), events.ProfileUpdated{FirstName: events.Set("Anna")})
			made, err := h.store.ReadAll(b.Context(), 0, 1)
			h.must(err)
			h.end() // the feed and the runs are the benchmark's
			cfg := h.d.cfg
			cfg.Metrics = nil
			d, err := New(cfg)
			h.must(err)
			var all []*run
			for range parties {
				id := ulid.Make()
				t := newThirdParty(d, events.ThirdParty{ID: id, State: events.ThirdPartyActive, Events: []string{"EmailChanged"}})
				d.parties[id] = t
				all = append(all, newRun(t, h.db.(Held), false))
			}
			accounts := make([]events.Stream, 10_000)
			for i := range accounts {
				accounts[i] = events.AccountStream(ulid.Make())
			}
			batch := make([]events.Event, 50)
			var position uint64
			b.ReportAllocs()
			b.ResetTimer()
			for position < uint64(b.N) {
				for i := range batch {
					batch[i] = made[0]
					batch[i].Stream = accounts[position%uint64(len(accounts))]
					position++
					batch[i].Position = position
				}
				h.must(d.feed.Apply(b.Context(), batch))
				for _, r := range all {
					if r.read(b.Context()); r.position != position {
						b.Fatalf("read up to %d of %d", r.position, position)
					}
					r.report()
				}
			}
		})
	}
}
