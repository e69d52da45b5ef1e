package postgres

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/jackc/pgx/v5"

	"konto/eventstore"
	"konto/eventstore/sqlite"
)

// Copy implements eventstore.AdminLog. The copy is a log file of package sqlite; check it with
// sqlite.Inspect. It has the records up to the head that the log had when the call began, and the
// claims and receipts of that moment.
func (l *Log) Copy(ctx context.Context, to string) (err error) {
	if err := l.checkOpen(ctx); err != nil {
		return err
	}
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		for _, suffix := range []string{"", "-wal", "-shm"} {
			if err == nil {
				return
			}
			if failed := os.Remove(to + suffix); !errors.Is(failed, fs.ErrNotExist) {
				err = errors.Join(err, failed)
			}
		}
	}()
	if err := f.Close(); err != nil {
		return err
	}
	made, err := sqlite.Open(ctx, to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, made.Close()) }()
	end, err := l.copySnapshot(ctx, made)
	if err != nil {
		return err
	}
	return l.copyRecords(ctx, made, end)
}

// copySnapshot copies what changes: the claims and receipts. Both are those of the position that
// it returns, because one snapshot has all three. Streams have no records yet, so receipts are
// appended at version 0. The snapshot keeps Postgres from removing old versions of the head's row,
// which slows down appends, so it ends before the records are copied.
func (l *Log) copySnapshot(ctx context.Context, made *sqlite.Log) (end eventstore.Extent, err error) {
	conn, err := pgx.ConnectConfig(ctx, l.cfg)
	if err != nil {
		return end, failed("read", err)
	}
	defer disconnect(conn)
	if _, err := conn.Exec(ctx, `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
		SET LOCAL idle_in_transaction_session_timeout = 0`); err != nil {
		return end, failed("read", err)
	}
	var hash []byte
	var rule int
	var at timeline
	if err := conn.QueryRow(ctx, `SELECT position, hash, id, claim_rule, `+timelineOf+` FROM log.head, log.meta`).
		Scan(&end.Position, &hash, &end.ID, &rule, &at); err != nil {
		return end, failed("read", err)
	}
	copy(end.Chain[:], hash)
	if err := made.Adopt(ctx, end.ID); err != nil {
		return end, err
	}
	if err := made.ReplaceClaims(ctx, rule, func(yield func(eventstore.HeldClaim, error) bool) {
		for after := (eventstore.HeldClaim{}); ; {
			rows, _ := conn.Query(ctx, claimsAfter, after.Key[:], after.Stream, pageSize) // CollectRows returns the error
			page, err := pgx.CollectRows(rows, scanClaim)
			if err != nil {
				yield(after, failed("read", err))
				return
			}
			if len(page) == 0 {
				return
			}
			for _, after = range page {
				if !yield(after, nil) {
					return
				}
			}
		}
	}); err != nil {
		return end, err
	}
	for after := (eventstore.ReceiptKey{}); ; {
		rows, _ := conn.Query(ctx, receiptsAfter, after[:], pageSize)
		page, err := pgx.CollectRows(rows, scanReceipt)
		if err != nil {
			return end, failed("read", err)
		}
		if len(page) == 0 {
			break
		}
		batches := make([]eventstore.Batch, len(page))
		for i, r := range page {
			batches[i] = eventstore.Batch{Stream: r.Stream, Receipts: []eventstore.Receipt{r.Receipt}}
		}
		if _, err := made.AppendAll(ctx, batches); err != nil {
			return end, err
		}
		after = page[len(page)-1].Key
	}
	return end, l.confirm(ctx, at)
}

// copyRecords copies the records up to end. The chain of the copy must have the hash of the log's.
func (l *Log) copyRecords(ctx context.Context, made *sqlite.Log, end eventstore.Extent) error {
	for done := uint64(0); done < end.Position; {
		page, err := l.records(ctx, `position > $1 AND position <= $2 ORDER BY position LIMIT $3`, signed(done), signed(end.Position), pageSize)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			return missing(done + 1)
		}
		batches := make([]eventstore.Batch, len(page))
		for i, r := range page {
			if r.Position != done+uint64(i)+1 {
				return missing(done + uint64(i) + 1)
			}
			batches[i] = eventstore.Batch{Stream: r.Stream, Expected: r.Version - 1, Records: page[i : i+1]}
		}
		if _, err := made.AppendAll(ctx, batches); err != nil {
			return err
		}
		done += uint64(len(page))
	}
	found, err := made.Extent(ctx, end.Position)
	if err == nil && found.Chain != end.Chain {
		err = &eventstore.ChainError{Position: end.Position, Reason: "the copy has another hash; check the log"}
	}
	return err
}

func missing(position uint64) error {
	return &eventstore.ChainError{Position: position, Reason: "the record is missing"}
}
