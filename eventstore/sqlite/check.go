package sqlite

import (
	"bytes"
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
	if progress == nil {
		progress = func(uint64, uint64) {}
	}
	head, err := l.Head(ctx)
	if err != nil {
		return err
	}
	if err := l.checkRecords(ctx, tip{}, head, progress); err != nil {
		return err
	}
	return l.checkVersions(ctx)
}

// CheckEnd implements eventstore.Checker.
func (l *Log) CheckEnd(ctx context.Context, n uint64) error {
	head, err := l.Head(ctx)
	if err != nil {
		return err
	}
	start := tip{position: head - min(head, n)}
	if start.position > 0 {
		extent, err := l.Extent(ctx, start.position)
		if err != nil {
			return &eventstore.ChainError{Position: start.position, Reason: err.Error(), Err: err}
		}
		start.hash = extent.Chain
	}
	return l.checkRecords(ctx, start, head, func(uint64, uint64) {})
}

// checkRecords checks positions and hashes after a record, up to head.
func (l *Log) checkRecords(ctx context.Context, last tip, head uint64, progress func(done, total uint64)) error {
	for last.position < head {
		progress(last.position, head)
		start := last
		args := []any{number(start.position), number(head), checkPage}
		err := l.rows(ctx, l.queries.chain, args, func(rows *sql.Rows) error {
			next, err := checkRecord(rows, last)
			if err == nil {
				last = next
			}
			return err
		})
		if errors.Is(err, sqlitefile.ErrMalformed) {
			return &eventstore.ChainError{Position: last.position + 1, Reason: err.Error(), Err: err}
		}
		if err != nil {
			return err
		}
		if last == start {
			return damagedAt(last.position+1, "the record is missing")
		}
	}
	progress(head, head)
	return nil
}

func damagedAt(position uint64, reason string) error {
	return &eventstore.ChainError{Position: position, Reason: reason}
}

// checkRecord checks that a row follows a tip.
func checkRecord(rows *sql.Rows, last tip) (tip, error) {
	var stored []byte
	r, err := scan(rows, &stored)
	if err != nil {
		return tip{}, damagedAt(last.position+1, err.Error())
	}
	if r.Position != last.position+1 {
		return tip{}, damagedAt(last.position+1, "the record is missing")
	}
	hash := eventstore.ChainHash(last.hash, r)
	if !bytes.Equal(stored, hash[:]) {
		return tip{}, damagedAt(r.Position, "the hash does not fit the record and those before it")
	}
	return tip{position: r.Position, hash: hash}, nil
}

// checkVersions checks the versions of one stream after the other, by an index. Records that
// are appended meanwhile are checked too. Streams are not in the order of positions, so it
// reads all of them to find the first damage.
func (l *Log) checkVersions(ctx context.Context) error {
	var first *eventstore.ChainError
	var stream events.Stream
	for last := (eventstore.StreamHead{}); ; {
		count := 0
		args := []any{stream, number(last.Version), checkPage}
		err := l.rows(ctx, l.queries.versions, args, func(rows *sql.Rows) error {
			count++
			var next eventstore.StreamHead
			var of events.Stream
			if err := rows.Scan(&of, &next.Version, &next.Position); err != nil {
				return err
			}
			if of != stream {
				stream, last = of, eventstore.StreamHead{}
			}
			if (next.Version != last.Version+1 || next.Position <= last.Position) && (first == nil || next.Position < first.Position) {
				first = &eventstore.ChainError{Position: next.Position, Reason: fmt.Sprintf(
					"version %d of %s follows its version %d at position %d", next.Version, stream, last.Version, last.Position)}
			}
			last = next
			return nil
		})
		switch {
		case err == nil && count > 0:
		case first == nil:
			return err
		default:
			return errors.Join(err, first)
		}
	}
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
