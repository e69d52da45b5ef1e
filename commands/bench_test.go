package commands

import (
	"bytes"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/sqlite"
)

func BenchmarkDecide(b *testing.B) {
	state := anna()
	update := &Update{
		Email:   events.Set("eva@example.se"),
		Profile: events.ProfileUpdated{FirstName: events.Set("Eva"), PhoneNumber: events.Set("0734567890"), LanguageCode: events.Set("sv")},
	}
	b.ReportAllocs()
	for b.Loop() {
		if d, err := decide(state, update); err != nil || len(d.payloads) != 2 {
			b.Fatal(d, err)
		}
	}
}

// BenchmarkDo measures 64 callers on a log in a SQLite file.
func BenchmarkDo(b *testing.B) {
	for name, accounts := range map[string]int{"one account": 1, "1,000 accounts": 1000} {
		b.Run(name, func(b *testing.B) { benchmarkDo(b, accounts) })
	}
}

func benchmarkDo(b *testing.B, accounts int) {
	dir := b.TempDir()
	keys, err := keyring.Open(b.Context(), filepath.Join(dir, "keys.db"), bytes.Repeat([]byte{1}, 32))
	if err != nil {
		b.Fatal(err)
	}
	defer keys.Close()
	log, err := sqlite.Open(b.Context(), filepath.Join(dir, "log.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	counted := &tapped{Log: log}
	store := eventstore.NewStore(counted, keys)
	n := &node{NewAccounts(Config{Store: store}), counted, store}
	ids := make([]ulid.ULID, accounts)
	all(accounts, func(i int) error {
		ids[i] = n.open(b, "user"+strconv.Itoa(i))
		return nil
	})
	before := n.log.count()
	var next atomic.Uint64
	b.SetParallelism(32) // times GOMAXPROCS
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := next.Add(1)
			if _, err := n.Do(b.Context(), ids[i%uint64(accounts)], events.Metadata{}, alias(strconv.FormatUint(i, 10))); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/float64(n.log.count()-before), "commands/append")
}
