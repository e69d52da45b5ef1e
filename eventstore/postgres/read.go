package postgres

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"konto/events"
	"konto/eventstore"
)

const columns = "position, stream, version, id, type, time, metadata, data"

// ReadStream implements eventstore.Reader.
func (l *Log) ReadStream(ctx context.Context, stream events.Stream, after uint64, limit int) ([]eventstore.Record, error) {
	return l.records(ctx, `stream = $1 AND version > $2 ORDER BY version LIMIT $3`, stream, signed(after), max(limit, 0))
}

// ByStream implements eventstore.Reader.
func (l *Log) ByStream(ctx context.Context, stream events.Stream, after uint64, limit int) ([]eventstore.Record, error) {
	return l.records(ctx, `(stream, version) > ($1 COLLATE "C", $2) ORDER BY stream, version LIMIT $3`, stream, signed(after), max(limit, 0))
}

// records reads the records that a condition selects.
func (l *Log) records(ctx context.Context, where string, args ...any) (records []eventstore.Record, err error) {
	err = l.Read(ctx, func(b *pgx.Batch) {
		b.Queue(`SELECT `+columns+` FROM log.events WHERE `+where, args...).Query(func(rows pgx.Rows) (err error) {
			records, err = pgx.CollectRows(rows, scan)
			return err
		})
	})
	return records, err
}

// StreamHead implements eventstore.Reader.
func (l *Log) StreamHead(ctx context.Context, stream events.Stream) (head eventstore.StreamHead, err error) {
	err = l.Read(ctx, func(b *pgx.Batch) {
		head = eventstore.StreamHead{}
		b.Queue(`SELECT version, position FROM log.events WHERE stream = $1 ORDER BY version DESC LIMIT 1`, stream).Query(func(rows pgx.Rows) error {
			_, err := pgx.ForEachRow(rows, []any{&head.Version, &head.Position}, func() error { return nil })
			return err
		})
	})
	return head, err
}

// Holder implements eventstore.Reader.
func (l *Log) Holder(ctx context.Context, key eventstore.ClaimKey) (holder events.Stream, err error) {
	err = l.Read(ctx, func(b *pgx.Batch) {
		b.Queue(`SELECT coalesce(min(stream), '') FROM log.claims WHERE key = $1`, key[:]).QueryRow(func(row pgx.Row) error {
			return row.Scan(&holder)
		})
	})
	return holder, err
}

// Claims implements eventstore.Reader.
func (l *Log) Claims(ctx context.Context, after eventstore.HeldClaim, limit int) (held []eventstore.HeldClaim, err error) {
	err = l.Read(ctx, func(b *pgx.Batch) {
		b.Queue(claimsAfter, after.Key[:], after.Stream, max(limit, 0)).Query(func(rows pgx.Rows) (err error) {
			held, err = pgx.CollectRows(rows, scanClaim)
			return err
		})
	})
	return held, err
}

const claimsAfter = `SELECT key, stream FROM log.claims WHERE (key, stream) > ($1, $2 COLLATE "C") ORDER BY key, stream LIMIT $3`

func scanClaim(row pgx.CollectableRow) (c eventstore.HeldClaim, err error) {
	var key []byte
	if err := row.Scan(&key, &c.Stream); err != nil {
		return c, err
	}
	if len(key) != len(c.Key) {
		return c, fmt.Errorf("%s holds a key of %d bytes", c.Stream, len(key))
	}
	c.Key = eventstore.ClaimKey(key)
	return c, nil
}

// ClaimRule implements eventstore.Reader.
func (l *Log) ClaimRule(ctx context.Context) (rule eventstore.ClaimRule, err error) {
	err = l.Read(ctx, func(b *pgx.Batch) {
		b.Queue(`SELECT claim_rule, shared FROM log.meta`).QueryRow(func(row pgx.Row) error {
			return row.Scan(&rule.Number, &rule.Shared)
		})
	})
	return rule, err
}

// Receipt implements eventstore.Reader.
func (l *Log) Receipt(ctx context.Context, key eventstore.ReceiptKey) (stream events.Stream, data []byte, err error) {
	err = l.Read(ctx, func(b *pgx.Batch) {
		stream, data = "", nil
		b.Queue(`SELECT stream, data FROM log.receipts
			WHERE key = $1 AND expires > extract(epoch FROM clock_timestamp()) * 1000`, key[:]).Query(func(rows pgx.Rows) error {
			_, err := pgx.ForEachRow(rows, []any{&stream, &data}, func() error { return nil })
			return err
		})
	})
	return stream, data, err
}

// ReadAll implements eventstore.Feed.
func (l *Log) ReadAll(ctx context.Context, after uint64, limit int) ([]eventstore.Record, error) {
	if err := l.checkOpen(ctx); err != nil {
		return nil, err
	}
	records, last, ok := l.feed.page(after, limit)
	if ok {
		return records, nil
	}
	return l.records(ctx, `position > $1 AND position <= $2 ORDER BY position LIMIT $3`, signed(after), signed(last), max(limit, 0))
}

// Head implements eventstore.Feed. It returns the position of the last record that any node has
// appended, even if the node's feed has not come that far.
func (l *Log) Head(ctx context.Context) (uint64, error) {
	if err := l.checkOpen(ctx); err != nil {
		return 0, err
	}
	c, err := l.barriers.pass(ctx)
	if err == nil && c.position > l.feed.end() {
		l.isBehind()
	}
	return c.position, err
}

// Wait implements eventstore.Feed.
func (l *Log) Wait(ctx context.Context, after uint64) error { return l.feed.wait(ctx, after) }

// scan reads a row of columns.
func scan(row pgx.CollectableRow) (eventstore.Record, error) { return scanMore(row) }

// scanMore reads a row of columns, and those after them into more.
func scanMore(row pgx.CollectableRow, more ...any) (r eventstore.Record, err error) {
	var id []byte
	var at int64
	if err := row.Scan(append([]any{&r.Position, &r.Stream, &r.Version, &id, &r.Type, &at, &r.Metadata, &r.Data}, more...)...); err != nil {
		return r, err
	}
	if len(id) != len(r.ID) {
		return r, fmt.Errorf("the record at position %d has an id of %d bytes", r.Position, len(id))
	}
	copy(r.ID[:], id)
	r.Time = time.UnixMilli(at).UTC()
	return r, nil
}

// signed is n as Postgres's signed integer; no position or version comes near its end.
func signed(n uint64) int64 { return int64(min(n, math.MaxInt64)) }
