package projections

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/errgroup"

	"konto/events"
)

// BenchmarkApply feeds batches of updates spread over accounts. Memory holds the
// accounts, but for the row that says otherwise.
func BenchmarkApply(b *testing.B) {
	for _, test := range []struct{ accounts, memory, batch int }{
		{10000, cachedAccounts, 1},
		{10000, cachedAccounts, 10},
		{10000, cachedAccounts, 100},
		{10000, cachedAccounts, 500},
		{10000, 1, 100}, // from the file
		{1, cachedAccounts, 100},
	} {
		b.Run(fmt.Sprintf("accounts=%d/memory=%d/batch=%d", test.accounts, test.memory, test.batch), func(b *testing.B) {
			h := newFixture(b)
			h.model.accounts = newCache[*events.Account](test.memory)
			updates := h.updates(test.accounts)
			b.ReportAllocs()
			b.ResetTimer()
			for done := 0; done < b.N; {
				b.StopTimer()
				batch := make([]events.Event, min(test.batch, b.N-done))
				for i := range batch {
					batch[i] = updates()
				}
				b.StartTimer()
				h.must(h.model.Apply(b.Context(), batch))
				done += len(batch)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// updates opens accounts of the size that customers have, and returns what gives
// one update of each of them in turn, in no order, as the log would.
func (h *fixture) updates(accounts int) func() events.Event {
	h.t.Helper()
	opened := events.AccountOpened{Email: "anna.svensson@example.com", PaywayID: "5f0000000000000000000001", Profile: events.ProfileUpdated{
		FirstName: events.Set("Anna"), LastName: events.Set("Svensson"), CompanyName: events.Set("Svensson Bygg AB"),
		PhoneNumber: events.Set("+46701234567"), CountryCode: events.Set("SE"), LanguageCode: events.Set("sv"),
		Address: events.AddressUpdated{
			Street: events.Set("Storgatan 12"), PostalCode: events.Set("111 22"), City: events.Set("Stockholm"), CountryCode: events.Set("SE"),
		},
	}}
	streams, versions := make([]events.Stream, accounts), make([]uint64, accounts)
	var position uint64
	next := func(i int, p events.Payload) events.Event {
		position++
		versions[i]++
		e, err := events.New(streams[i], versions[i], ulid.Make(), time.Now(), events.Metadata{}, p)
		h.must(err)
		e.Position = position
		return e
	}
	var opening errgroup.Group
	opening.SetLimit(256) // keys that are made together share a commit
	batch := make([]events.Event, accounts)
	for i := range streams {
		streams[i] = events.AccountStream(ulid.Make())
		batch[i] = next(i, opened)
		opening.Go(func() error {
			_, err := h.keys.Create(h.t.Context(), streams[i])
			return err
		})
	}
	h.must(opening.Wait())
	for part := range slices.Chunk(batch, 500) {
		h.must(h.model.Apply(h.t.Context(), part))
	}
	i := 0
	return func() events.Event {
		i = (i + 7919) % accounts // a prime
		return next(i, events.ProfileUpdated{FirstName: events.Set("Anna"), CompanyName: events.Set(strconv.FormatUint(position, 10))})
	}
}

func BenchmarkReaderAccount(b *testing.B) {
	for name, memory := range map[string]int{"from memory": cachedAccounts, "from the file": 1} {
		b.Run(name, func(b *testing.B) {
			h := newFixture(b)
			h.model.accounts = newCache[*events.Account](memory)
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
	h := newFixture(b)
	_, token := h.issueKey(events.KeyIssued{Client: "billing", Scopes: []string{"/external/account/w"}})
	h.must(h.model.Apply(b.Context(), h.all(0)))
	now := time.Now()
	for b.Loop() {
		_, err := h.model.Authenticate(b.Context(), token, now)
		h.must(err)
	}
}
