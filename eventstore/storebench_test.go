package eventstore_test

import (
	"context"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/sqlite"
)

// BenchmarkAppendAndFollow lets 64 clients append one update at a time to 1,000 accounts in a
// SQLite log, while three followers read the log.
func BenchmarkAppendAndFollow(b *testing.B) {
	const clients, streams, followers = 64, 1000 / 64, 3
	log, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "log.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	s := eventstore.NewStore(log, newKeys(b))
	meta := events.Metadata{RequestID: "req_" + ulid.Make().String(), Actor: events.Actor{Kind: "account"}, Contract: "hostup"}
	var appended [clients][]events.Stream
	for i := range appended {
		for range streams {
			appended[i] = append(appended[i], newStream())
		}
	}
	update := func(stream events.Stream, version int) error {
		e, err := events.New(stream, uint64(version)+1, ulid.Make(), time.Now(), meta, named("Anna"))
		if err == nil {
			_, err = s.Append(context.Background(), stream, uint64(version), nil, []events.Event{e})
		}
		return err
	}
	var opening sync.WaitGroup
	for _, own := range appended { // creates the keys
		opening.Go(func() {
			for _, stream := range own {
				if err := update(stream, 0); err != nil {
					b.Error(err)
				}
			}
		})
	}
	opening.Wait()
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	var reading, clientsDone sync.WaitGroup
	for range followers {
		reading.Go(func() {
			for after := uint64(0); s.Wait(ctx, after) == nil; {
				page, err := s.ReadNext(b.Context(), after, 500)
				if err != nil || len(page) == 0 {
					b.Error(len(page), err)
					return
				}
				after = page[len(page)-1].Position
			}
		})
	}
	var next atomic.Int64
	b.ResetTimer()
	var before, used syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	for _, own := range appended {
		clientsDone.Go(func() {
			for n := len(own); next.Add(1) <= int64(b.N); n++ {
				if err := update(own[n%len(own)], n/len(own)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	clientsDone.Wait()
	b.StopTimer()
	syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	spent := used.Utime.Nano() + used.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	b.ReportMetric(float64(spent)/1000/float64(b.N), "cpu-us/append")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
	stop()
	reading.Wait()
}
