//go:build servers

package postgres_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore/postgres"
	"konto/eventstore/postgres/postgrestest"
)

// BenchmarkAppend compares appends with plain inserts that are as durable, with a standby that is
// 2 ms away. Each client waits for its append before it begins the next one, on a stream of its own.
// The processor time of the servers says more than appends/s where something else runs too.
func BenchmarkAppend(b *testing.B) {
	primary := postgrestest.Primary(b)
	standby, replication := primary.Standby(b, "standby")
	replication.Delay(time.Millisecond) // in either direction
	for _, load := range []struct{ clients, nodes int }{{64, 1}, {64, 3}, {256, 1}, {256, 3}} {
		name := fmt.Sprintf("clients=%d/nodes=%d", load.clients, load.nodes)
		b.Run(name+"/plain", func(b *testing.B) {
			url := primary.Database(b)
			primary.ExecIn(b, url, `CREATE TABLE plain (position bigserial PRIMARY KEY, stream text NOT NULL, version bigint NOT NULL,
				id bytea NOT NULL, type text NOT NULL, time bigint NOT NULL, metadata bytea NOT NULL, data bytea NOT NULL, UNIQUE (stream, version))`)
			var pools []*pgxpool.Pool
			for range load.nodes {
				cfg, err := pgxpool.ParseConfig(url)
				if err != nil {
					b.Fatal(err)
				}
				cfg.MaxConns = int32(load.clients/load.nodes + 1)
				pool, err := pgxpool.NewWithConfig(context.Background(), cfg)
				if err != nil {
					b.Fatal(err)
				}
				defer pool.Close()
				pools = append(pools, pool)
			}
			before := processorTime(b, primary, standby)
			work(b, load.clients, func(client int, stream events.Stream, version uint64) error {
				r := one(stream, version).Records[0]
				_, err := pools[client%load.nodes].Exec(context.Background(), `INSERT INTO plain (stream, version, id, type, time, metadata, data)
					VALUES ($1, $2, $3, $4, $5, $6, $7)`, r.Stream, r.Version, r.ID[:], r.Type, r.Time.UnixMilli(), r.Metadata, r.Data)
				return err
			})
			report(b, before, processorTime(b, primary, standby))
		})
		b.Run(name+"/konto", func(b *testing.B) {
			url := primary.Database(b)
			var logs []*postgres.Log
			for range load.nodes {
				log := openLog(b, postgres.Config{URL: url, Log: slog.New(slog.DiscardHandler)})
				defer log.Close()
				logs = append(logs, log)
			}
			before := processorTime(b, primary, standby)
			work(b, load.clients, func(client int, stream events.Stream, version uint64) error {
				_, err := logs[client%load.nodes].Append(context.Background(), one(stream, version))
				return err
			})
			report(b, before, processorTime(b, primary, standby))
		})
	}
}

// work appends b.N records with so many clients.
func work(b *testing.B, clients int, appendOne func(client int, stream events.Stream, version uint64) error) {
	var left atomic.Int64
	left.Store(int64(b.N))
	failed := make(chan error, clients)
	b.ResetTimer()
	for client := range clients {
		go func() {
			stream := events.AccountStream(ulid.Make())
			for version := uint64(0); left.Add(-1) >= 0; version++ {
				if err := appendOne(client, stream, version); err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	for range clients {
		if err := <-failed; err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
}

// processorTime is the processor time that each server has used.
func processorTime(b *testing.B, servers ...*postgrestest.Server) (each []time.Duration) {
	for _, s := range servers {
		each = append(each, s.CPU(b))
	}
	return each
}

func report(b *testing.B, before, after []time.Duration) {
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
	for i, server := range []string{"primary", "standby"} {
		b.ReportMetric(float64((after[i]-before[i]).Microseconds())/float64(b.N), server+"-cpu-us/append")
	}
}
