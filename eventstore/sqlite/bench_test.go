package sqlite

import (
	"bytes"
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

// BenchmarkAppend appends one record of 400 bytes at a time to 10,000 streams,
// by clients that each wait for their append.
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
	waits := make([]time.Duration, b.N)
	var next atomic.Int64
	var group sync.WaitGroup
	b.ResetTimer()
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
	slices.Sort(waits)
	b.ReportMetric(float64(waits[len(waits)*99/100].Microseconds())/1000, "p99-ms")
}

func benchmarkBatch(stream events.Stream, version int) eventstore.Batch {
	return eventstore.Batch{Stream: stream, Expected: uint64(version), Records: []eventstore.Record{{
		Stream: stream, Version: uint64(version) + 1, ID: ulid.ULID{1}, Type: "ProfileUpdated.v1",
		Time: time.UnixMilli(1_700_000_000_000).UTC(), Metadata: []byte(`{"requestId":"req_01HXA3B4C5D6E7F8G9H0J1K2M3"}`),
		Data: benchmarkData,
	}}}
}

var benchmarkData = bytes.Repeat([]byte("konto"), 80)

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
