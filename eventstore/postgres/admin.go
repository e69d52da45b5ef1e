package postgres

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/jackc/pgx/v5"

	"konto/events"
	"konto/eventstore"
)

// ID implements eventstore.AdminLog.
func (l *Log) ID(ctx context.Context) ([]byte, error) {
	e, err := l.Extent(ctx, 0)
	return e.ID, err
}

// Extent implements eventstore.AdminLog.
func (l *Log) Extent(ctx context.Context, position uint64) (eventstore.Extent, error) {
	var id, hash []byte
	err := l.Read(ctx, func(b *pgx.Batch) {
		id, hash = nil, nil
		b.Queue(`SELECT id, (SELECT hash FROM log.events WHERE position = $1) FROM log.meta`, signed(position)).QueryRow(func(row pgx.Row) error {
			return row.Scan(&id, &hash)
		})
	})
	e := eventstore.Extent{ID: id}
	if err != nil || position == 0 {
		return e, err
	}
	if len(hash) != len(e.Chain) {
		return e, fmt.Errorf("the log has no record at position %d", position)
	}
	e.Position, e.Chain = position, [sha256.Size]byte(hash)
	return e, nil
}

// Adopt implements eventstore.AdminLog. It holds the row of the log's head, so nobody appends
// meanwhile.
func (l *Log) Adopt(ctx context.Context, id []byte) error {
	if len(id) != idLength {
		return fmt.Errorf("the id of a log has %d bytes, not %d", idLength, len(id))
	}
	return l.Write(ctx, func(tx pgx.Tx) error {
		var position uint64
		if err := tx.QueryRow(ctx, `SELECT position FROM log.head FOR NO KEY UPDATE`).Scan(&position); err != nil {
			return failed("read", err)
		}
		if position > 0 {
			return ErrNotEmpty
		}
		if _, err := tx.Exec(ctx, `UPDATE log.meta SET id = $1`, id); err != nil {
			return failed("write to", err)
		}
		return nil
	})
}

// newestStreams looks up one stream after the other in the index of streams and versions, from the
// end, and passes over the versions of each.
const newestStreams = `WITH RECURSIVE newest (stream, n) AS (
	(SELECT stream, 1 FROM log.events WHERE stream >= $1 AND stream < $2 ORDER BY stream DESC LIMIT 1)
	UNION ALL
	SELECT next.stream, n + 1 FROM newest CROSS JOIN LATERAL (SELECT stream FROM log.events
		WHERE stream >= $1 AND stream < newest.stream ORDER BY stream DESC LIMIT 1) AS next WHERE n < $3
) SELECT stream FROM newest ORDER BY n`

// NewestStreams implements eventstore.AdminLog.
func (l *Log) NewestStreams(ctx context.Context, category string, n int) (found []events.Stream, err error) {
	if n <= 0 {
		return nil, l.checkOpen(ctx)
	}
	err = l.Read(ctx, func(b *pgx.Batch) {
		b.Queue(newestStreams, category+"-", category+"-[", n).Query(func(rows pgx.Rows) (err error) { // '[' follows 'Z'
			found, err = pgx.CollectRows(rows, pgx.RowTo[events.Stream])
			return err
		})
	})
	return found, err
}
