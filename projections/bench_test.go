package projections

import (
	"fmt"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

// BenchmarkApply feeds batches of 500 updates spread over many accounts.
func BenchmarkApply(b *testing.B) {
	for name, test := range map[string]struct{ accounts, memory int }{
		"one account, from memory":     {1, recentAccounts},
		"1000 accounts, from memory":   {1000, recentAccounts},
		"1000 accounts, from the file": {1000, 1},
	} {
		b.Run(name, func(b *testing.B) {
			h, accounts := newHouse(b), test.accounts
			h.model.accounts = newRecent[events.Account](test.memory)
			ids := make([]ulid.ULID, accounts)
			for i := range ids {
				ids[i] = h.openAccount("a@example.com")
			}
			for rest := h.all(0); len(rest) > 0; rest = rest[min(500, len(rest)):] {
				h.must(h.model.Apply(b.Context(), rest[:min(500, len(rest))]))
			}
			position, versions, next := h.position(), make([]uint64, accounts), 0
			b.ResetTimer()
			for done := 0; done < b.N; {
				b.StopTimer()
				var batch []events.Event
				for len(batch) < min(500, b.N-done) {
					i := next % accounts
					next += 7919 // a prime: every account in turn, in no order
					position++
					versions[i]++
					e, err := events.New(events.AccountStream(ids[i]), versions[i], ulid.Make(), time.Now(), events.Metadata{}, named(fmt.Sprint(position)))
					h.must(err)
					e.Version, e.Position = versions[i]+1, position
					batch = append(batch, e)
				}
				b.StartTimer()
				h.must(h.model.Apply(b.Context(), batch))
				done += len(batch)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

func BenchmarkReaderAccount(b *testing.B) {
	for name, memory := range map[string]int{"from memory": recentAccounts, "from the file": 1} {
		b.Run(name, func(b *testing.B) {
			h := newHouse(b)
			h.model.accounts = newRecent[events.Account](memory)
			ids := make([]ulid.ULID, 1000)
			for i := range ids {
				ids[i] = h.openAccount("a@example.com")
			}
			h.must(h.model.Apply(b.Context(), h.all(0)))
			reader, i := h.reader(0), 0
			for b.Loop() {
				_, err := reader.Account(b.Context(), ids[i%len(ids)])
				h.must(err)
				i++
			}
		})
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	h := newHouse(b)
	_, token := h.issueKey(events.KeyIssued{Client: "billing", Scopes: []string{"/external/account/w"}})
	h.must(h.model.Apply(b.Context(), h.all(0)))
	now := time.Now()
	for b.Loop() {
		_, err := h.model.Authenticate(b.Context(), token, now)
		h.must(err)
	}
}
