package projections

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/sqlite"
)

// BenchmarkRebuild rebuilds a read model of a log on disk, in which the accounts
// take turns: the order in which nothing that was used last is used next. Run it
// with -benchtime 1x; KONTO_BENCH_EVENTS is the length of the log, 1,000,000
// unless given. raw-events/s is how fast one goroutine reads the same records and
// decodes payloads like theirs, without decrypting, folding or writing anything.
func BenchmarkRebuild(b *testing.B) {
	total := 1_000_000
	if given, err := strconv.Atoi(os.Getenv("KONTO_BENCH_EVENTS")); err == nil {
		total = given
	}
	for _, accounts := range []int{10_000, 100_000, 250_000} {
		b.Run(fmt.Sprintf("accounts=%d", accounts), func(b *testing.B) { benchmarkRebuild(b, total, accounts) })
	}
}

func benchmarkRebuild(b *testing.B, total, accounts int) {
	dir, master := b.TempDir(), sha256.Sum256([]byte("bench"))
	keys, err := keyring.Open(b.Context(), filepath.Join(dir, "keys.db"), master[:])
	must(b, err)
	defer keys.Close()
	log, err := sqlite.Open(b.Context(), filepath.Join(dir, "log.db"))
	must(b, err)
	defer log.Close()
	fillLog(b, eventstore.NewStore(log, keys), total, accounts)
	model, err := OpenReadModel(b.Context(), filepath.Join(dir, "read.db"), log, keys)
	must(b, err)
	defer model.Close()
	raw := rawRate(b, log, total)
	// The read model is made first: what is measured is one that finds another to
	// compare with.
	first := &rebuild{live: model, next: newReadModel(model.nextPath(), log, keys), cfg: RebuildConfig{}}
	must(b, first.fill(b.Context(), uint64(total)))
	must(b, first.takeOver(b.Context()))

	debug.FreeOSMemory()
	must(b, os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)) // begins a new VmHWM
	started := peak(b)
	tasks := make(map[string]time.Time)
	b.ResetTimer()
	for range b.N {
		began := time.Now()
		done, err := model.Rebuild(b.Context(), RebuildConfig{Progress: func(done, total uint64, unit string) {
			if done == total {
				tasks[unit] = time.Now()
			}
		}})
		must(b, err)
		if done.Events != uint64(total) || done.Different() != 0 || !done.Exchanged {
			b.Fatalf("%+v", done)
		}
		for _, unit := range []string{"events folded", "rows compared"} {
			b.Logf("%s: %v", unit, tasks[unit].Sub(began).Round(time.Millisecond))
		}
		b.Logf("all: %v", time.Since(began).Round(time.Millisecond))
	}
	rate := float64(total*b.N) / b.Elapsed().Seconds()
	b.StopTimer()
	b.ReportMetric(rate, "events/s")
	b.ReportMetric(raw, "raw-events/s")
	b.ReportMetric(rate/raw, "of-raw")
	b.ReportMetric(started, "MiB-before")
	b.ReportMetric(peak(b), "MiB-peak")
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fillLog appends events one at a time, by many clients whose accounts take turns.
func fillLog(b *testing.B, store *eventstore.Store, total, accounts int) {
	const clients = 512
	began := time.Now()
	var next atomic.Int64
	var group sync.WaitGroup
	ids := make([]ulid.ULID, accounts)
	for i := range ids {
		ids[i] = ulid.Make()
	}
	for client := range clients {
		group.Go(func() {
			for n := 0; ; n++ {
				// The client's own accounts, so that no append conflicts.
				i := client + n*clients
				version := uint64(0)
				for i >= accounts {
					i -= (accounts + clients - 1 - client) / clients * clients
					version++
				}
				if next.Add(1) > int64(total) {
					return
				}
				stream := events.AccountStream(ids[i])
				e, err := events.New(stream, version+1, ulid.Make(), time.Now(), benchMetadata, benchPayload(i, version))
				if err == nil {
					_, err = store.Append(context.Background(), stream, version, nil, []events.Event{e})
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	if b.Failed() {
		b.FailNow()
	}
	b.Logf("filled the log in %v", time.Since(began).Round(time.Second))
}

var benchMetadata = events.Metadata{
	RequestID: "req_01HXA3B4C5D6E7F8G9H0J1K2M3", Contract: "hostup",
	Actor: events.Actor{Kind: "account", ID: "01HXA3B4C5D6E7F8G9H0J1K2M3"}, Trace: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
}

func benchPayload(account int, version uint64) events.Payload {
	email := fmt.Sprintf("anna.%d.%d@example.com", account, version)
	switch {
	case version == 0:
		return events.AccountOpened{Email: email, PaywayID: fmt.Sprintf("%024x", account), Profile: events.ProfileUpdated{
			FirstName: events.Set("Anna"), LastName: events.Set("Svensson"), CountryCode: events.Set("SE"),
			LanguageCode: events.Set("sv"), CurrencyCode: events.Set("SEK"), PhoneNumber: events.Set("+46701234567"),
		}}
	case version%5 == 0:
		return events.EmailChanged{PreviousEmail: "anna@example.com", NewEmail: email, How: events.EmailDirect}
	}
	return events.ProfileUpdated{FirstName: events.Set(email[:8]), LastName: events.Set("Svensson"), PhoneNumber: events.Set("+46701234567")}
}

func rawRate(b *testing.B, log eventstore.Feed, total int) float64 {
	samples := make(map[string][]byte)
	for version := range uint64(6) {
		name, data, err := events.Encode(benchPayload(1, version))
		must(b, err)
		samples[name] = data
	}
	began := time.Now()
	for after := uint64(0); after < uint64(total); {
		page, err := log.ReadAll(b.Context(), after, 1000)
		must(b, err)
		for _, r := range page {
			_, err := events.Decode(r.Type, samples[r.Type])
			must(b, err)
			after = r.Position
		}
	}
	return float64(total) / time.Since(began).Seconds()
}

// peak is the most memory that the process had resident, in MiB.
func peak(b *testing.B) float64 {
	status, err := os.ReadFile("/proc/self/status")
	must(b, err)
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	must(b, err)
	return float64(kib) / 1024
}
