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
	"konto/eventstore/sqlitefile"
)

const columns = "position, stream, version, id, type, time, metadata, data"

// queries are the readers', prepared once. Each is one page by an index and is
// read to its end at once: a reader that lingered would keep the WAL from being
// reused.
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

// ReadAll implements eventstore.Feed.
func (l *Log) ReadAll(ctx context.Context, after uint64, limit int) ([]eventstore.Record, error) {
	return l.records(ctx, l.queries.all, limit, number(after))
}

// StreamHead implements eventstore.Reader.
func (l *Log) StreamHead(ctx context.Context, stream events.Stream) (eventstore.StreamHead, error) {
	seen, err := l.Head(ctx)
	if err != nil {
		return eventstore.StreamHead{}, err
	}
	head, ok := l.writer.heads.get(stream)
	if ok {
		return head, nil
	}
	err = l.one(ctx, l.queries.streamHead, []any{stream}, &head.Version, &head.Position)
	if err == nil && head.Version > 0 { // streams that are not there must not displace others
		l.writer.heads.learn(stream, head, seen)
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

// Head implements eventstore.Feed.
func (l *Log) Head(ctx context.Context) (uint64, error) {
	if err := l.begin(ctx); err != nil {
		return 0, err
	}
	defer l.mu.RUnlock()
	return l.head.get(), nil
}

// Wait implements eventstore.Feed.
func (l *Log) Wait(ctx context.Context, after uint64) error { return l.head.wait(ctx, after) }

// begin enters a read, which ends with l.mu.RUnlock.
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

// one reads a single row; when there is none, the destinations stay as they are.
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

// records reads a page; limit becomes the query's last argument.
func (l *Log) records(ctx context.Context, query *sql.Stmt, limit int, args ...any) ([]eventstore.Record, error) {
	var records []eventstore.Record
	// SQL takes a negative limit for none at all.
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

// rows calls each for every row of a page, until it fails.
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

// scan reads the columns of one row, and more behind them.
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

// number is n as SQLite's signed integer; no position or version comes near its end.
func number(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

func (l *Log) failed(doing string, err error) error {
	return fmt.Errorf("%s %s: %w", doing, l.path, sqlitefile.Explain(err))
}
