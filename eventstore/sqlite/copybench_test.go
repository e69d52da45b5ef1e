package sqlite

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
)

// BenchmarkAppendDuringCopy measures how long appends take while the log, of
// 200,000 records of 400 bytes, is copied, and how long they take while it is
// not. 64 clients append all the time.
func BenchmarkAppendDuringCopy(b *testing.B) {
	const total, clients = 200_000, 64
	dir := b.TempDir()
	log, err := Open(b.Context(), filepath.Join(dir, "log.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	fill(b, log, total)
	for b.Loop() {
		phases := &load{phase: make([][]time.Duration, 3)}
		phases.more.L = &phases.mu
		var group sync.WaitGroup
		for client := range clients {
			group.Go(func() { phases.drive(b, log, client) })
		}
		phases.until(0, 30_000)
		phases.now.Store(1)
		copied := filepath.Join(dir, ulid.Make().String())
		if err := log.Copy(b.Context(), copied); err != nil {
			b.Fatal(err)
		}
		phases.now.Store(2)
		phases.until(2, 30_000) // which meet the next checkpoint
		phases.now.Store(3)
		group.Wait()
		for i, name := range []string{"before", "copying", "after"} {
			waits := phases.phase[i]
			slices.Sort(waits)
			b.ReportMetric(milliseconds(waits[len(waits)*99/100]), name+"-p99-ms")
			b.ReportMetric(milliseconds(waits[len(waits)-1]), name+"-max-ms")
			b.Logf("%s: %d appends", name, len(waits))
		}
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func fill(b *testing.B, log *Log, total int) {
	const perBatch = 100
	for i := range total / perBatch {
		batch := eventstore.Batch{Stream: events.AccountStream(ulid.ULID{byte(i >> 8), byte(i)})}
		for version := range perBatch {
			batch.Records = append(batch.Records, benchmarkBatch(batch.Stream, version).Records...)
		}
		if _, err := log.Append(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
}

// load measures appends in phases.
type load struct {
	now   atomic.Int32
	mu    sync.Mutex
	more  sync.Cond
	phase [][]time.Duration
}

func (l *load) drive(b *testing.B, log *Log, client int) {
	streams := make([]events.Stream, 100)
	for i := range streams {
		streams[i] = events.AccountStream(ulid.Make())
	}
	for n := 0; ; n++ {
		phase := int(l.now.Load())
		if phase == len(l.phase) {
			return
		}
		begun := time.Now()
		if _, err := log.Append(context.Background(), benchmarkBatch(streams[n%len(streams)], n/len(streams))); err != nil {
			b.Error(fmt.Errorf("client %d: %w", client, err))
			return
		}
		l.add(phase, time.Since(begun))
	}
}

func (l *load) add(phase int, waited time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.phase[phase] = append(l.phase[phase], waited)
	l.more.Broadcast()
}

func (l *load) until(phase, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.phase[phase]) < n {
		l.more.Wait()
	}
}
