package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
)

// BenchmarkAppend appends one record of 400 bytes at a time to 10,000 streams,
// by clients that each wait for their append. cpu-us/append counts the clients, too.
func BenchmarkAppend(b *testing.B) {
	for _, clients := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) { benchmarkAppend(b, clients) })
	}
}

func benchmarkAppend(b *testing.B, clients int) {
	log, err := Open(b.Context(), filepath.Join(b.TempDir(), "log.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	commits, commit := 0, log.writer.commit
	log.writer.commit = func(tx *sql.Tx) error { commits++; return commit(tx) }
	waits := make([]time.Duration, b.N)
	var next atomic.Int64
	var group sync.WaitGroup
	b.ResetTimer()
	used := processorTime(b)
	for client := range clients {
		group.Go(func() {
			// Streams are the client's own, so no append conflicts.
			streams := make([]events.Stream, max(1, 10_000/clients))
			for i := range streams {
				streams[i] = events.AccountStream(ulid.ULID{byte(client), byte(i >> 8), byte(i), byte(client * 7)})
			}
			for n := 0; ; n++ {
				i := int(next.Add(1)) - 1
				if i >= b.N {
					return
				}
				start := time.Now()
				if _, err := log.Append(context.Background(), benchmarkBatch(streams[n%len(streams)], n/len(streams))); err != nil {
					b.Error(err)
					return
				}
				waits[i] = time.Since(start)
			}
		})
	}
	group.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
	b.ReportMetric(float64((processorTime(b)-used).Microseconds())/float64(b.N), "cpu-us/append")
	b.ReportMetric(float64(b.N)/float64(commits), "appends/commit")
	slices.Sort(waits)
	b.ReportMetric(milliseconds(waits[len(waits)*99/100]), "p99-ms")
	b.ReportMetric(milliseconds(waits[len(waits)-1]), "max-ms")
}

// processorTime is what the process has used so far.
func processorTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func benchmarkBatch(stream events.Stream, version int) eventstore.Batch {
	return eventstore.Batch{Stream: stream, Expected: uint64(version), Records: []eventstore.Record{{
		Stream: stream, Version: uint64(version) + 1, ID: ulid.ULID{1}, Type: "ProfileUpdated.v1",
		Time: time.UnixMilli(1_700_000_000_000).UTC(), Metadata: []byte(`{"requestId":"req_01HXA3B4C5D6E7F8G9H0J1K2M3"}`),
		Data: benchmarkData,
	}}}
}

var benchmarkData = bytes.Repeat([]byte("konto"), 80)

// BenchmarkStreamHead asks for the end of one stream of many, known and not.
func BenchmarkStreamHead(b *testing.B) {
	log, err := Open(b.Context(), filepath.Join(b.TempDir(), "log.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	fill(b, log, 100_000)
	for _, known := range []bool{true, false} {
		b.Run(fmt.Sprintf("known=%t", known), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !known {
					log.writer.heads.evictAll()
				}
				if head, err := log.StreamHead(b.Context(), events.AccountStream(ulid.ULID{0, 1})); err != nil || head.Version == 0 {
					b.Fatal(head, err)
				}
			}
		})
	}
}

// BenchmarkReadAll reads 100,000 records of 400 bytes in pages of 1,000.
func BenchmarkReadAll(b *testing.B) {
	const total, perBatch = 100_000, 100
	log, err := Open(b.Context(), filepath.Join(b.TempDir(), "log.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	for i := range total / perBatch {
		batch := eventstore.Batch{Stream: events.AccountStream(ulid.ULID{byte(i >> 8), byte(i)})}
		for version := range perBatch {
			batch.Records = append(batch.Records, benchmarkBatch(batch.Stream, version).Records...)
		}
		if _, err := log.Append(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		for after := uint64(0); after < total; {
			page, err := log.ReadAll(b.Context(), after, 1000)
			if err != nil || len(page) == 0 {
				b.Fatalf("%d records, %v", len(page), err)
			}
			after = page[len(page)-1].Position
		}
	}
	b.ReportMetric(float64(total*b.N)/b.Elapsed().Seconds(), "records/s")
}
