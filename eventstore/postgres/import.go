package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"konto/eventstore"
)

// ErrImporting is returned by OpenLog for a log that holds a part of an import.
var ErrImporting = errors.New("an import into this log has not ended; if it does not run any more, run it again")

// ErrNotEmpty is returned by OpenImport for a log that has records. Nothing was changed.
var ErrNotEmpty = errors.New("the log in this database has events already; import into an empty database")

// removeRecords makes a log empty. Nobody else sees the trigger off that refuses that.
const removeRecords = `
ALTER TABLE log.events DISABLE TRIGGER USER;
TRUNCATE log.events, log.claims, log.receipts;
ALTER TABLE log.events ENABLE TRIGGER USER;
UPDATE log.head SET position = 0, hash = decode(repeat('00', 32), 'hex')`

// OpenImport opens a log without records so that an import can fill it. It removes what an import
// that did not end has left; only the owner of the schema may do that. OpenLog refuses the log
// until FinishImport. The error matches ErrNodesRun if nodes are live. A node joins before it opens the
// log, so none has the log open. Closing the log closes the database too.
func OpenImport(ctx context.Context, db *Database) (*Log, error) {
	err := db.Write(ctx, func(tx pgx.Tx) error {
		if err := db.refuseNodes(ctx, tx); err != nil {
			return err
		}
		var position uint64
		var importing bool
		err := tx.QueryRow(ctx, `SELECT position, (SELECT importing FROM log.meta) FROM log.head FOR NO KEY UPDATE`).Scan(&position, &importing)
		if err != nil {
			return failed("read", err)
		}
		if position > 0 && !importing {
			return ErrNotEmpty
		}
		_, err = tx.Exec(ctx, `UPDATE log.meta SET importing = true`)
		if err == nil && importing {
			_, err = tx.Exec(ctx, removeRecords)
		}
		if err != nil {
			return failed("write to", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return openLog(ctx, db)
}

// FinishImport makes the log one that OpenLog opens.
func (l *Log) FinishImport(ctx context.Context) error {
	return l.Write(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `UPDATE log.meta SET importing = false`); err != nil {
			return failed("write to", err)
		}
		return nil
	})
}

// AppendAll implements eventstore.Loader. All batches are stored in one turn, which holds the row
// for as long as it takes: give it some 1,000 records at a time. If ctx ends while the batches
// wait for their turn, nothing is stored. If ctx ends later, the error matches ErrOutcomeUnknown.
func (l *Log) AppendAll(ctx context.Context, batches []eventstore.Batch) (last uint64, err error) {
	for _, b := range batches {
		if err := b.Check(); err != nil {
			return 0, err
		}
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	all, err := l.queue.push(batches...)
	if err != nil {
		return 0, err
	}
	for _, p := range all {
		select {
		case <-p.decided:
		case <-ctx.Done():
			return 0, l.abandon(ctx, all)
		}
	}
	for _, p := range all {
		if err == nil {
			last, err = max(last, p.last), p.err
		}
	}
	return last, err
}
