package postgres

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/jackc/pgx/v5"

	"konto/eventstore"
)

// ReplaceClaims implements eventstore.Appender. It is one transaction, which holds the row of the
// log's head: no node appends meanwhile. The error matches ErrNodesRun if other nodes are live, which
// may go on with the claims of another rule. None joins until the transaction ends.
func (l *Log) ReplaceClaims(ctx context.Context, rule int, held iter.Seq2[eventstore.HeldClaim, error]) error {
	if err := l.checkOpen(ctx); err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, l.cfg)
	if err != nil {
		return failed("write to", err)
	}
	defer func() { disconnect(conn) }()
	at, err := l.replaceClaims(ctx, conn, rule, held)
	if err != nil {
		return err
	}
	c, err := l.barriers.pass(ctx)
	if err == nil && c.timeline != at {
		err = errReplaced
	}
	if err != nil {
		return fmt.Errorf("%w: %w", eventstore.ErrOutcomeUnknown, err)
	}
	return nil
}

// replaceClaims commits locally, and returns the timeline on which it did.
func (l *Log) replaceClaims(ctx context.Context, conn *pgx.Conn, rule int, held iter.Seq2[eventstore.HeldClaim, error]) (at timeline, err error) {
	// held may read for longer than a session may be idle in a transaction.
	if _, err := conn.Exec(ctx, `BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0;
		LOCK TABLE cluster.node IN SHARE MODE`); err != nil {
		return at, failed("write to", err)
	}
	if err := conn.QueryRow(ctx, `SELECT `+timelineOf).Scan(&at); err != nil {
		return at, failed("read", err)
	}
	if err := l.refuseNodes(ctx, conn); err != nil {
		return at, err
	}
	if _, err := conn.Exec(ctx, `SELECT FROM log.head FOR NO KEY UPDATE; DELETE FROM log.claims`); err != nil {
		return at, failed("write to", err)
	}
	page := make([][]any, 0, pageSize)
	flush := func() error {
		_, err := conn.CopyFrom(ctx, pgx.Identifier{"made"}, []string{"key", "stream"}, pgx.CopyFromRows(page))
		page = page[:0]
		return err
	}
	if _, err := conn.Exec(ctx, `CREATE TEMPORARY TABLE made (key bytea, stream text COLLATE "C") ON COMMIT DROP`); err != nil {
		return at, failed("write to", err)
	}
	for c, err := range held {
		if err != nil {
			return at, err
		}
		if page = append(page, []any{append([]byte(nil), c.Key[:]...), string(c.Stream)}); len(page) == pageSize {
			if err := flush(); err != nil {
				return at, failed("write to", err)
			}
		}
	}
	if err := flush(); err != nil {
		return at, failed("write to", err)
	}
	// A stream may come twice with one key.
	if _, err := conn.Exec(ctx, `INSERT INTO log.claims SELECT DISTINCT key, stream FROM made`); err != nil {
		return at, failed("write to", err)
	}
	if _, err := conn.Exec(ctx, `UPDATE log.meta SET claim_rule = $1,
		shared = EXISTS (SELECT FROM log.claims GROUP BY key HAVING count(*) > 1)`, rule); err != nil {
		return at, failed("write to", err)
	}
	if _, err := conn.Exec(ctx, `COMMIT`); err != nil {
		return at, failed("write to", err)
	}
	return at, nil
}

// ErrNodesRun is matched by the error of what must be done while no other node is live.
var ErrNodesRun = errors.New("other nodes run on this log, stop them first")

// refuseNodes returns an error if nodes other than this one are live.
func (l *Log) refuseNodes(ctx context.Context, conn *pgx.Conn) error {
	self, _ := l.incarnation.Load().([]byte)
	rows, err := conn.Query(ctx, `SELECT name FROM cluster.node
		WHERE seen > clock_timestamp() - $1::interval AND incarnation IS DISTINCT FROM $2 ORDER BY name`, liveTime, self)
	if err != nil {
		return failed("read", err)
	}
	live, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return failed("read", err)
	}
	if len(live) > 0 {
		return fmt.Errorf("%w: %s", ErrNodesRun, strings.Join(live, ", "))
	}
	return nil
}
