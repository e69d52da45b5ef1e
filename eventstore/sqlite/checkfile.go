package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/sqlitefile"
)

// CheckFile has SQLite read the whole file, and compares what it consists of
// with what this konto makes: without a trigger, say, the log would still work,
// and no longer refuse to be changed. It changes nothing and may run while the
// log is in use. An error that matches sqlitefile.ErrMalformed or ErrOtherSchema
// tells what is wrong, any other that it could not be found out.
func (l *Log) CheckFile(ctx context.Context) error {
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

// readLong reads the file for longer than a moment. Meanwhile no page can leave the
// write-ahead log for good; they do at once afterwards.
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

// ByStream returns up to limit records in the order of streams and, within each,
// of versions: those that follow a version of a stream, and the streams behind it.
func (l *Log) ByStream(ctx context.Context, stream events.Stream, after uint64, limit int) ([]eventstore.Record, error) {
	return l.records(ctx, l.queries.byStream, limit, stream, number(after))
}

// Receipts returns up to limit receipts, expired or not, with keys above after
// in the order of their bytes.
func (l *Log) Receipts(ctx context.Context, after eventstore.ReceiptKey, limit int) ([]eventstore.LeftReceipt, error) {
	var left []eventstore.LeftReceipt
	err := l.rows(ctx, l.queries.receipts, []any{after[:], max(limit, 0)}, func(rows *sql.Rows) error {
		var key sql.RawBytes
		var expires int64
		var r eventstore.LeftReceipt
		if err := rows.Scan(&key, &r.Stream, &r.Data, &expires); err != nil {
			return err
		}
		if len(key) != len(r.Key) {
			return fmt.Errorf("%s left a receipt with a key of %d bytes", r.Stream, len(key))
		}
		copy(r.Key[:], key)
		r.Expires = time.UnixMilli(expires).UTC()
		left = append(left, r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return left, nil
}
