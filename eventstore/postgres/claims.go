package postgres

import (
	"bytes"
	"context"
	"iter"

	"github.com/jackc/pgx/v5"

	"konto/eventstore"
)

// ReplaceClaims implements eventstore.Appender. It is one transaction, which holds the row of the
// log's head: no node appends meanwhile. The error matches ErrNodesRun if other nodes are live, which
// may go on with the claims of another rule.
func (l *Log) ReplaceClaims(ctx context.Context, rule int, held iter.Seq2[eventstore.HeldClaim, error]) error {
	return l.Write(ctx, func(tx pgx.Tx) error {
		if err := l.refuseNodes(ctx, tx); err != nil {
			return err
		}
		// held may read for longer than a session may be idle in a transaction.
		if _, err := tx.Exec(ctx, `SET LOCAL idle_in_transaction_session_timeout = 0;
			SELECT FROM log.head FOR NO KEY UPDATE;
			DELETE FROM log.claims;
			CREATE TEMPORARY TABLE made (key bytea, stream text COLLATE "C") ON COMMIT DROP`); err != nil {
			return failed("write to", err)
		}
		page := make([][]any, 0, pageSize)
		for c, err := range held {
			if err != nil {
				return err
			}
			if page = append(page, []any{bytes.Clone(c.Key[:]), string(c.Stream)}); len(page) == pageSize {
				if err := copyClaims(ctx, tx, page); err != nil {
					return err
				}
				page = page[:0]
			}
		}
		if err := copyClaims(ctx, tx, page); err != nil {
			return err
		}
		// A stream may come twice with one key.
		if _, err := tx.Exec(ctx, `INSERT INTO log.claims SELECT DISTINCT key, stream FROM made`); err != nil {
			return failed("write to", err)
		}
		if _, err := tx.Exec(ctx, `UPDATE log.meta SET claim_rule = $1,
			shared = EXISTS (SELECT FROM log.claims GROUP BY key HAVING count(*) > 1)`, rule); err != nil {
			return failed("write to", err)
		}
		return nil
	})
}

func copyClaims(ctx context.Context, tx pgx.Tx, page [][]any) error {
	if _, err := tx.CopyFrom(ctx, pgx.Identifier{"made"}, []string{"key", "stream"}, pgx.CopyFromRows(page)); err != nil {
		return failed("write to", err)
	}
	return nil
}
