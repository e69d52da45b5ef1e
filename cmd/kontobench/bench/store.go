package bench

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/errgroup"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/sqlite"
	"konto/eventstore/sqlitefile"
)

const (
	// streams is the number of streams of the rows, as with so many accounts.
	streams = 10_000
	// rawTransaction is the number of rows in a transaction of the raw rate.
	rawTransaction = 100
)

// rounds is how many parts a measurement of the store has. The measurements that are compared take
// turns, because a disk may be slow for a while. The median counts.
const rounds = 3

// AppendRates measures the log in this process, in a folder. It measures how many rows SQLite
// stores at most, with the log's tables and durability but without its triggers, and how many appends
// of one row, for which a client waits, a log stores. measured is called after each round, which
// takes as long as a measurement.
func AppendRates(ctx context.Context, folder string, length time.Duration, measured func()) (*Store, error) {
	var raw []float64
	waiting := map[int][]Appends{64: nil, 256: nil}
	for round := range rounds {
		dir := filepath.Join(folder, fmt.Sprint("round", round))
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, err
		}
		rate, err := rawRate(ctx, filepath.Join(dir, "raw.db"), length/rounds)
		if err != nil {
			return nil, err
		}
		raw = append(raw, rate)
		for clients, all := range waiting {
			a, err := appendRate(ctx, filepath.Join(dir, fmt.Sprintf("appends%d.db", clients)), clients, length/rounds)
			if err != nil {
				return nil, err
			}
			waiting[clients] = append(all, a)
		}
		if err := os.RemoveAll(dir); err != nil {
			return nil, err
		}
		measured()
	}
	slices.Sort(raw)
	s := &Store{RawRows: raw[rounds/2]}
	for _, all := range waiting {
		slices.SortFunc(all, func(a, b Appends) int { return cmp.Compare(a.PerSecond, b.PerSecond) })
		middle := all[rounds/2]
		middle.OfRaw = middle.PerSecond / s.RawRows
		s.Appends = append(s.Appends, middle)
	}
	slices.SortFunc(s.Appends, func(a, b Appends) int { return a.Clients - b.Clients })
	return s, nil
}

// record returns a row of about 400 bytes, like that of an update.
func record(stream events.Stream, version uint64) eventstore.Record {
	return eventstore.Record{
		Stream: stream, Version: version, ID: ulid.ULID{1}, Type: events.TypeProfileUpdated,
		Time: time.UnixMilli(1_700_000_000_000).UTC(), Metadata: []byte(`{"requestId":"req_01HXA3B4C5D6E7F8G9H0J1K2M3"}`),
		Data: recordData,
	}
}

var recordData = bytes.Repeat([]byte("konto"), 80)

// someStreams returns new streams, in no order.
func someStreams(n int) []events.Stream {
	all := make([]events.Stream, n)
	for i := range all {
		var id ulid.ULID
		rand.Read(id[:]) // never fails
		all[i] = events.AccountStream(id)
	}
	return all
}

func rawRate(ctx context.Context, path string, length time.Duration) (rate float64, err error) {
	log, err := sqlite.Open(ctx, path) // for its tables
	if err != nil {
		return 0, err
	}
	if err := log.Close(); err != nil {
		return 0, err
	}
	db, err := sqlitefile.OpenWriter(path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, err := db.ExecContext(ctx, `DROP TRIGGER events_are_never_updated; DROP TRIGGER events_are_never_deleted; DROP TRIGGER events_are_never_replaced`); err != nil {
		return 0, err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	// Without database/sql, whose own work would make the log look better than it is.
	err = conn.Raw(func(raw any) error {
		rate, err = rawRows(ctx, raw.(rawConn), length)
		return err
	})
	return rate, err
}

// rawConn is a driver's connection.
type rawConn interface {
	driver.ConnPrepareContext
	driver.ExecerContext
}

func rawRows(ctx context.Context, conn rawConn, length time.Duration) (float64, error) {
	prepared, err := conn.PrepareContext(ctx, `INSERT INTO events (position, stream, version, id, type, time, metadata, data, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`)
	if err != nil {
		return 0, err
	}
	defer prepared.Close()
	insert := prepared.(driver.StmtExecContext)
	names, rows := someStreams(streams), 0
	// For a context that can end, the driver starts a goroutine for each statement.
	cancelled, ctx := ctx.Err, context.WithoutCancel(ctx)
	begun := time.Now()
	for time.Since(begun) < length && cancelled() == nil {
		if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE", nil); err != nil {
			return 0, err
		}
		for range rawTransaction {
			r := record(names[rows%len(names)], uint64(rows/len(names))+1)
			rows++
			if _, err := insert.ExecContext(ctx, rawValues(int64(rows), r)); err != nil {
				return 0, err
			}
		}
		if _, err := conn.ExecContext(ctx, "COMMIT", nil); err != nil {
			return 0, err
		}
	}
	return float64(rows) / time.Since(begun).Seconds(), cancelled()
}

func rawValues(position int64, r eventstore.Record) (values []driver.NamedValue) {
	var hash [sha256.Size]byte
	for i, v := range []any{position, string(r.Stream), int64(r.Version), r.ID[:], r.Type, r.Time.UnixMilli(), r.Metadata, r.Data, hash[:]} {
		values = append(values, driver.NamedValue{Ordinal: i + 1, Value: v})
	}
	return values
}

func appendRate(ctx context.Context, path string, clients int, length time.Duration) (a Appends, err error) {
	log, err := sqlite.Open(ctx, path)
	if err != nil {
		return a, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	latency := newHistogram()
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	begun := time.Now()
	for range clients {
		group.Go(func() error {
			own, err := appendAs(ctx, log, max(1, streams/clients), begun.Add(length))
			mu.Lock()
			defer mu.Unlock()
			latency.Merge(own)
			return err
		})
	}
	err = group.Wait()
	return Appends{
		Clients: clients, PerSecond: float64(latency.TotalCount()) / time.Since(begun).Seconds(),
		P50: percentile(latency, 50), P99: percentile(latency, 99),
	}, err
}

// appendAs appends to streams that no other client appends to, so that nothing conflicts.
func appendAs(ctx context.Context, log eventstore.Appender, own int, end time.Time) (*hdrhistogram.Histogram, error) {
	latency := newHistogram()
	names := someStreams(own)
	for n := 0; ; n++ {
		begun := time.Now()
		if !begun.Before(end) || ctx.Err() != nil {
			return latency, ctx.Err()
		}
		name, version := names[n%len(names)], uint64(n/len(names))
		b := eventstore.Batch{Stream: name, Expected: version, Records: []eventstore.Record{record(name, version+1)}}
		if _, err := log.Append(ctx, b); err != nil {
			return latency, err
		}
		latency.RecordValue(min(max(1, time.Since(begun).Microseconds()), patience.Microseconds()))
	}
}
