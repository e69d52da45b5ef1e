package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/sqlitefile"
)

// checkPage is how many rows a check reads at once; see queries.
const checkPage = 1000

// CheckStorage implements eventstore.Checker. SQLite reads the whole file, and the schema is
// compared with the one that this konto creates: without a trigger, for example, the log
// would still work but could be changed. If the file is wrong, the error matches
// sqlitefile.ErrMalformed or ErrOtherSchema. Any other error means that the check failed.
func (l *Log) CheckStorage(ctx context.Context) error {
	if err := l.begin(ctx); err != nil {
		return err
	}
	defer l.mu.RUnlock()
	if err := l.checkTables(ctx); err != nil {
		return l.failed("check", err)
	}
	return l.readLong(ctx, func() error { return sqlitefile.CheckIntegrity(ctx, l.path) })
}

func (l *Log) checkTables(ctx context.Context) error {
	var rows, found, length int
	row := l.readers.QueryRowContext(ctx, "SELECT count(*), coalesce(max(format), 0), coalesce(max(length(id)), 0) FROM meta")
	if err := row.Scan(&rows, &found, &length); err != nil {
		return err
	}
	if rows != 1 || found < 1 || found > format || length != idLength {
		return fmt.Errorf("%w: the row that names the log is not what konto made", sqlitefile.ErrOtherSchema)
	}
	return sqlitefile.CheckSchema(ctx, l.readers, schemas[found])
}

// readLong runs a read that takes long. Pages stay in the write-ahead log meanwhile, and are
// moved afterwards.
func (l *Log) readLong(ctx context.Context, read func() error) error {
	l.checkpointer.mu.Lock() // one long read at a time
	defer l.checkpointer.mu.Unlock()
	if err := read(); err != nil {
		return err
	}
	if err := l.checkpointer.move(ctx); err != nil {
		return l.failed("checkpoint", err)
	}
	return nil
}

// CheckChain implements eventstore.Checker. If SQLite cannot read the file, the error matches
// sqlitefile.ErrMalformed too.
func (l *Log) CheckChain(ctx context.Context, progress func(done, total uint64)) error {
	head, err := l.Head(ctx)
	if err != nil {
		return err
	}
	_, err = eventstore.CheckChain(ctx, chain{l}, head, progress)
	return err
}

// CheckEnd implements eventstore.Checker.
func (l *Log) CheckEnd(ctx context.Context, n uint64) error {
	head, err := l.Head(ctx)
	if err != nil {
		return err
	}
	start := eventstore.ChainEnd{Position: head - min(head, n)}
	if start.Position > 0 {
		extent, err := l.Extent(ctx, start.Position)
		if err != nil {
			return &eventstore.ChainError{Position: start.Position, Reason: err.Error(), Err: err}
		}
		start.Hash = extent.Chain
	}
	_, err = eventstore.CheckEnd(ctx, chain{l}, start, head, nil)
	return err
}

// chain implements eventstore.ChainReader.
type chain struct{ log *Log }

func (c chain) Hashed(ctx context.Context, after, to uint64, each func(eventstore.Record, []byte, error) error) error {
	err := c.log.rows(ctx, c.log.queries.chain, []any{number(after), number(to), checkPage}, func(rows *sql.Rows) error {
		var hash []byte
		r, err := scan(rows, &hash)
		return each(r, hash, err)
	})
	if errors.Is(err, sqlitefile.ErrMalformed) {
		return &eventstore.ChainError{Reason: err.Error(), Err: err}
	}
	return err
}

func (c chain) Heads(ctx context.Context, stream events.Stream, after uint64, each func(events.Stream, eventstore.StreamHead)) error {
	return c.log.rows(ctx, c.log.queries.versions, []any{stream, number(after), checkPage}, func(rows *sql.Rows) error {
		var of events.Stream
		var head eventstore.StreamHead
		if err := rows.Scan(&of, &head.Version, &head.Position); err != nil {
			return err
		}
		each(of, head)
		return nil
	})
}

// ByStream implements eventstore.Reader.
func (l *Log) ByStream(ctx context.Context, stream events.Stream, after uint64, limit int) ([]eventstore.Record, error) {
	return l.records(ctx, l.queries.byStream, limit, stream, number(after))
}

// Receipts implements eventstore.Checker.
func (l *Log) Receipts(ctx context.Context, after eventstore.ReceiptKey, limit int) ([]eventstore.StoredReceipt, error) {
	var found []eventstore.StoredReceipt
	err := l.rows(ctx, l.queries.receipts, []any{after[:], max(limit, 0)}, func(rows *sql.Rows) error {
		var key sql.RawBytes
		var expires int64
		var r eventstore.StoredReceipt
		if err := rows.Scan(&key, &r.Stream, &r.Data, &expires); err != nil {
			return err
		}
		if len(key) != len(r.Key) {
			return fmt.Errorf("a receipt of %s has a key of %d bytes", r.Stream, len(key))
		}
		copy(r.Key[:], key)
		r.Expires = time.UnixMilli(expires).UTC()
		found = append(found, r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}
