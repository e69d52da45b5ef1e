package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"time"

	"konto/events"
	"konto/eventstore"
)

const columns = "position, stream, version, id, type, time, metadata, data"

// queries are prepared once. Each reads one page by an index and is finished at once, because
// a slow reader would keep the write-ahead log from being reused.
type queries struct {
	stream, all, streamHead, holder, claims, receipt, chain, versions, hash *sql.Stmt
	byStream, receipts, streamBefore                                        *sql.Stmt
}

func prepareQueries(ctx context.Context, db *sql.DB) (q queries, err error) {
	for text, query := range map[string]**sql.Stmt{
		`SELECT ` + columns + ` FROM events WHERE stream = ? AND version > ? ORDER BY version LIMIT ?`: &q.stream,
		`SELECT ` + columns + ` FROM events WHERE position > ? ORDER BY position LIMIT ?`:              &q.all,
		`SELECT version, position FROM events WHERE stream = ? ORDER BY version DESC LIMIT 1`:          &q.streamHead,
		`SELECT coalesce(max(stream), '') FROM events WHERE stream < ?`:                                &q.streamBefore,
		`SELECT stream FROM claims WHERE key = ? ORDER BY stream LIMIT 1`:                              &q.holder,
		`SELECT hash FROM events WHERE position = ?`:                                                   &q.hash,
		`SELECT key, stream FROM claims WHERE (key, stream) > (?, ?) ORDER BY key, stream LIMIT ?`:     &q.claims,
		`SELECT stream, data FROM receipts WHERE key = ? AND expires > ?`:                              &q.receipt,
		`SELECT ` + columns + `, hash FROM events
			WHERE position > ? AND position <= ? ORDER BY position LIMIT ?`: &q.chain,
		`SELECT ` + columns + ` FROM events WHERE (stream, version) > (?, ?)
			ORDER BY stream, version LIMIT ?`: &q.byStream,
		`SELECT key, stream, data, expires FROM receipts WHERE key > ? ORDER BY key LIMIT ?`: &q.receipts,
		`SELECT stream, version, position FROM events
			WHERE (stream, version) > (?, ?) ORDER BY stream, version LIMIT ?`: &q.versions,
	} {
		if *query, err = db.PrepareContext(ctx, text); err != nil {
			return q, err
		}
	}
	return q, nil
}

// ReadStream implements eventstore.Reader.
func (l *Log) ReadStream(ctx context.Context, stream events.Stream, after uint64, limit int) ([]eventstore.Record, error) {
	return l.records(ctx, l.queries.stream, limit, stream, number(after))
}

// ReadAll implements eventstore.Feed. It reads the last records from memory.
func (l *Log) ReadAll(ctx context.Context, after uint64, limit int) ([]eventstore.Record, error) {
	head, err := l.Head(ctx)
	if err != nil || after >= head || limit <= 0 {
		return nil, err
	}
	limit = int(min(uint64(limit), head-after))
	records := l.feed.read(after, limit)
	after, limit = after+uint64(len(records)), limit-len(records)
	if limit == 0 {
		return records, nil
	}
	more, err := l.records(ctx, l.queries.all, limit, number(after))
	if err != nil {
		return nil, err
	}
	return append(records, more...), nil
}

// StreamHead implements eventstore.Reader.
func (l *Log) StreamHead(ctx context.Context, stream events.Stream) (eventstore.StreamHead, error) {
	position, err := l.Head(ctx)
	if err != nil {
		return eventstore.StreamHead{}, err
	}
	head, ok := l.writer.heads.get(stream)
	if ok {
		return head, nil
	}
	err = l.one(ctx, l.queries.streamHead, []any{stream}, &head.Version, &head.Position)
	if err == nil && head.Version > 0 { // an unknown stream must not evict another
		l.writer.heads.addRead(stream, head, position)
	}
	return head, err
}

// Holder implements eventstore.Reader.
func (l *Log) Holder(ctx context.Context, key eventstore.ClaimKey) (events.Stream, error) {
	var holder events.Stream
	err := l.one(ctx, l.queries.holder, []any{key[:]}, &holder)
	return holder, err
}

// Claims implements eventstore.Reader.
func (l *Log) Claims(ctx context.Context, after eventstore.HeldClaim, limit int) ([]eventstore.HeldClaim, error) {
	var held []eventstore.HeldClaim
	err := l.rows(ctx, l.queries.claims, []any{after.Key[:], after.Stream, max(limit, 0)}, func(rows *sql.Rows) error {
		var key sql.RawBytes
		var claim eventstore.HeldClaim
		if err := rows.Scan(&key, &claim.Stream); err != nil {
			return err
		}
		if len(key) != len(claim.Key) {
			return fmt.Errorf("%s holds a key of %d bytes", claim.Stream, len(key))
		}
		copy(claim.Key[:], key)
		held = append(held, claim)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return held, nil
}

// Receipt implements eventstore.Reader.
func (l *Log) Receipt(ctx context.Context, key eventstore.ReceiptKey) (stream events.Stream, data []byte, err error) {
	err = l.one(ctx, l.queries.receipt, []any{key[:], time.Now().UnixMilli()}, &stream, &data)
	return stream, data, err
}

// NewestStreams implements eventstore.AdminLog. It looks each stream up in an index.
func (l *Log) NewestStreams(ctx context.Context, category string, n int) ([]events.Stream, error) {
	var found []events.Stream
	first, before := events.Stream(category+"-"), events.Stream(category+"-[") // '[' follows 'Z'
	for len(found) < n {
		var next events.Stream
		if err := l.one(ctx, l.queries.streamBefore, []any{before}, &next); err != nil {
			return nil, err
		}
		if next < first { // of another category, or ""
			break
		}
		found, before = append(found, next), next
	}
	return found, nil
}

// Head implements eventstore.Feed.
func (l *Log) Head(ctx context.Context) (uint64, error) {
	if err := l.begin(ctx); err != nil {
		return 0, err
	}
	defer l.mu.RUnlock()
	return l.feed.head(), nil
}

// Wait implements eventstore.Feed.
func (l *Log) Wait(ctx context.Context, after uint64) error { return l.feed.wait(ctx, after) }

// begin starts a read. The caller ends it with l.mu.RUnlock.
func (l *Log) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.mu.RLock()
	if l.closed {
		l.mu.RUnlock()
		return eventstore.ErrClosed
	}
	return nil
}

// one reads a single row. If there is none, it does not change dest.
func (l *Log) one(ctx context.Context, query *sql.Stmt, args []any, dest ...any) error {
	if err := l.begin(ctx); err != nil {
		return err
	}
	defer l.mu.RUnlock()
	if err := query.QueryRowContext(ctx, args...).Scan(dest...); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return l.failed("read", err)
	}
	return nil
}

// records reads a page. limit becomes the last argument of the query.
func (l *Log) records(ctx context.Context, query *sql.Stmt, limit int, args ...any) ([]eventstore.Record, error) {
	var records []eventstore.Record
	// For SQL, a negative limit means no limit.
	err := l.rows(ctx, query, append(args, max(limit, 0)), func(rows *sql.Rows) error {
		r, err := scan(rows)
		records = append(records, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return records, nil
}

// rows calls each for every row of a page until one fails.
func (l *Log) rows(ctx context.Context, query *sql.Stmt, args []any, each func(*sql.Rows) error) error {
	if err := l.begin(ctx); err != nil {
		return err
	}
	defer l.mu.RUnlock()
	rows, err := query.QueryContext(ctx, args...)
	if err != nil {
		return l.failed("read", err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows); err != nil {
			return l.failed("read", err)
		}
	}
	if err := rows.Err(); err != nil {
		return l.failed("read", err)
	}
	return nil
}

// scan reads the columns of a row, and those after them into more.
func scan(rows *sql.Rows, more ...any) (eventstore.Record, error) {
	var r eventstore.Record
	var id sql.RawBytes
	var at int64
	dest := append([]any{&r.Position, &r.Stream, &r.Version, &id, &r.Type, &at, &r.Metadata, &r.Data}, more...)
	if err := rows.Scan(dest...); err != nil {
		return r, err
	}
	if len(id) != len(r.ID) {
		return r, fmt.Errorf("record at position %d has an id of %d bytes", r.Position, len(id))
	}
	copy(r.ID[:], id)
	r.Time = time.UnixMilli(at).UTC()
	return r, nil
}

// number converts n to SQLite's signed integer. No position or version comes near its maximum.
func number(n uint64) int64 { return int64(min(n, math.MaxInt64)) }
