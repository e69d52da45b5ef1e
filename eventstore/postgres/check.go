package postgres

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"konto/events"
	"konto/eventstore"
)

// ErrOtherSchema is matched by CheckStorage's error if the tables are not what this konto makes.
var ErrOtherSchema = errors.New("the log's schema is not the one that konto makes")

// ErrCorrupt is matched by the errors of checks if Postgres has found damaged pages.
var ErrCorrupt = errors.New("damaged data was found by Postgres")

// storageQuery finds what konto depends on and no append would notice.
const storageQuery = `SELECT
	(SELECT coalesce(max(version_id), 0) FROM log.schema_version WHERE is_applied),
	(SELECT count(*) FROM log.meta WHERE length(id) = 16) + (SELECT count(*) FROM log.head),
	(SELECT count(*) FROM pg_trigger WHERE tgrelid = 'log.events'::regclass AND NOT tgisinternal
		AND tgenabled IN ('O', 'A') AND tgfoid = 'log.refuse'::regproc AND tgtype & 58 = 58), -- before update, delete, truncate
	(SELECT count(*) FROM pg_index WHERE indrelid IN ('log.events'::regclass, 'log.claims'::regclass, 'log.receipts'::regclass)
		AND indisunique AND indisvalid),
	(SELECT coalesce(checksum_failures, 0) FROM pg_stat_database WHERE datname = current_database())`

// CheckStorage implements eventstore.Checker. It finds a schema that was changed, such as a missing
// trigger, without which the log works but can be changed. It does not read the tables' pages:
// Postgres checks a page whenever it reads one, if the server has data_checksums. The error
// matches ErrOtherSchema or ErrCorrupt. Any other error means that the check failed.
func (l *Log) CheckStorage(ctx context.Context) error {
	if err := l.checkOpen(ctx); err != nil {
		return err
	}
	newest, err := newestSchema()
	if err != nil {
		return err
	}
	var version, rows, triggers, unique, failures int64
	if err := l.pool.QueryRow(ctx, storageQuery).Scan(&version, &rows, &triggers, &unique, &failures); err != nil {
		return unread(err)
	}
	switch {
	case version != newest:
		return fmt.Errorf("%w: it has version %d, not %d", ErrOtherSchema, version, newest)
	case rows != 2:
		return fmt.Errorf("%w: the row that names the log, or the one of its end, is not what konto makes", ErrOtherSchema)
	case triggers != 1:
		return fmt.Errorf("%w: the trigger that keeps events from being changed is missing or disabled", ErrOtherSchema)
	case unique != 4:
		return fmt.Errorf("%w: a unique index is missing or invalid", ErrOtherSchema)
	case failures > 0:
		return fmt.Errorf("%w: %d checksums did not fit; see checksum_failures in pg_stat_database", ErrCorrupt, failures)
	}
	return nil
}

// CheckChain implements eventstore.Checker. It compares the end of the chain with the row of the
// log's head too. If Postgres cannot read a page, the error matches ErrCorrupt too.
func (l *Log) CheckChain(ctx context.Context, progress func(done, total uint64)) error {
	return l.checkChain(ctx, func(head uint64) (eventstore.ChainEnd, error) {
		return eventstore.CheckChain(ctx, chain{l, head}, head, progress)
	})
}

// CheckEnd implements eventstore.Checker.
func (l *Log) CheckEnd(ctx context.Context, n uint64) error {
	return l.checkChain(ctx, func(head uint64) (eventstore.ChainEnd, error) {
		start := eventstore.ChainEnd{Position: head - min(head, n)}
		if start.Position > 0 {
			extent, err := l.Extent(ctx, start.Position)
			if err != nil {
				return start, &eventstore.ChainError{Position: start.Position, Reason: err.Error(), Err: err}
			}
			start.Hash = extent.Chain
		}
		return eventstore.CheckEnd(ctx, chain{l, head}, start, head, nil)
	})
}

// checkChain runs a check up to the head that the log has now.
func (l *Log) checkChain(ctx context.Context, check func(head uint64) (eventstore.ChainEnd, error)) error {
	if err := l.checkOpen(ctx); err != nil {
		return err
	}
	c, err := l.barriers.pass(ctx)
	if err != nil {
		return err
	}
	end, err := check(c.position)
	if err == nil && c.position > 0 && hex.EncodeToString(end.Hash[:]) != c.hash {
		err = &eventstore.ChainError{Position: c.position, Reason: "the log's head has another hash"}
	}
	return err
}

// chain implements eventstore.ChainReader for the records up to head. It reads without barriers,
// because a barrier has covered the head.
type chain struct {
	log  *Log
	head uint64
}

func (c chain) Hashed(ctx context.Context, after, to uint64, each func(eventstore.Record, []byte, error) error) error {
	err := c.rows(ctx, `SELECT `+columns+`, hash FROM log.events WHERE position > $1 AND position <= $2
		ORDER BY position LIMIT $3`, []any{signed(after), signed(to), pageSize}, func(rows pgx.Rows) error {
		var hash []byte
		r, err := scanMore(rows, &hash)
		return each(r, hash, err)
	})
	if errors.Is(err, ErrCorrupt) {
		return &eventstore.ChainError{Reason: err.Error(), Err: err}
	}
	return err
}

func (c chain) Heads(ctx context.Context, stream events.Stream, after uint64, each func(events.Stream, eventstore.StreamHead)) error {
	return c.rows(ctx, `SELECT stream, version, position FROM log.events WHERE (stream, version) > ($1 COLLATE "C", $2)
		AND position <= $3 ORDER BY stream, version LIMIT $4`, []any{stream, signed(after), signed(c.head), pageSize}, func(rows pgx.Rows) error {
		var of events.Stream
		var head eventstore.StreamHead
		if err := rows.Scan(&of, &head.Version, &head.Position); err != nil {
			return err
		}
		each(of, head)
		return nil
	})
}

func (c chain) rows(ctx context.Context, query string, args []any, each func(pgx.Rows) error) error {
	rows, err := c.log.pool.Query(ctx, query, args...)
	if err != nil {
		return unread(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return unread(err)
	}
	return nil
}

// unread is the error of a read. It matches ErrCorrupt if Postgres says that its data are damaged.
func unread(err error) error {
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code[:2] == "XX" {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return failed("read", err)
}

// Receipts implements eventstore.Checker.
func (l *Log) Receipts(ctx context.Context, after eventstore.ReceiptKey, limit int) (found []eventstore.StoredReceipt, err error) {
	err = l.Read(ctx, func(b *pgx.Batch) {
		b.Queue(receiptsAfter, after[:], max(limit, 0)).Query(func(rows pgx.Rows) (err error) {
			found, err = pgx.CollectRows(rows, scanReceipt)
			return err
		})
	})
	return found, err
}

const receiptsAfter = `SELECT key, stream, data, expires FROM log.receipts WHERE key > $1 ORDER BY key LIMIT $2`

func scanReceipt(row pgx.CollectableRow) (r eventstore.StoredReceipt, err error) {
	var key []byte
	var expires int64
	if err := row.Scan(&key, &r.Stream, &r.Data, &expires); err != nil {
		return r, err
	}
	if len(key) != len(r.Key) {
		return r, fmt.Errorf("a receipt of %s has a key of %d bytes", r.Stream, len(key))
	}
	r.Key, r.Expires = eventstore.ReceiptKey(key), time.UnixMilli(expires).UTC()
	return r, nil
}
