package postgres

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// LimitsPurpose is the purpose for which the keyring derives the secret of NewLimits.
const LimitsPurpose = "limits"

const (
	// limitsAtOnce is how many of the database's connections limits use. It leaves some to
	// reads and writes while many callers are limited.
	limitsAtOnce = readerCount / 2
	// limitsTimeout bounds how long one call waits for Postgres.
	limitsTimeout = 3 * time.Second
	// deleteEvery is how often expired rows are deleted, deleteAtOnce of them in a transaction.
	deleteEvery  = time.Minute
	deleteAtOnce = 1000
)

// Limits counts for all nodes together. It forgets all counts when the server crashes and when a
// standby is promoted. Limits then start anew, so each failover allows at most what the limit
// allows once. Keys are stored as keyed hashes. It is safe for concurrent use.
//
// Its methods return an error if Postgres does not answer within 3 s, or before ctx ends. What was
// asked for may then have happened or not.
type Limits struct {
	db     *Database
	secret []byte
	using  chan struct{} // has an element for each connection in use
}

// NewLimits returns the limits of a database. The secret is the same on every node.
func NewLimits(db *Database, secret []byte) *Limits {
	return &Limits{db: db, secret: secret, using: make(chan struct{}, limitsAtOnce)}
}

// Add adds one to the count of a key, unless the count has reached most, which is 1 or more. It
// returns the count before, and how long the count lasts: span from the first one. If the count
// was most, nothing was added. Of all callers on all nodes, most add one within a span.
func (l *Limits) Add(ctx context.Context, name string, key []byte, most int, span time.Duration) (before int, lasts time.Duration, err error) {
	var added bool
	// One statement, so that nobody adds between the comparison and the addition.
	err = l.ask(ctx, func(b *pgx.Batch) {
		b.Queue(`INSERT INTO cluster.guess AS g (key, times, added, until) VALUES ($1, 1, true, statement_timestamp() + $3::interval)
			ON CONFLICT (key) DO UPDATE SET
				times = CASE WHEN g.until <= statement_timestamp() THEN 1 ELSE least(g.times + 1, $2::int) END,
				added = g.until <= statement_timestamp() OR g.times < $2,
				until = CASE WHEN g.until <= statement_timestamp() THEN excluded.until ELSE g.until END
			RETURNING times, added, until - statement_timestamp()`, l.hash(name, key), most, span).
			QueryRow(func(row pgx.Row) error { return row.Scan(&before, &added, &lasts) })
	})
	if added {
		before--
	}
	return before, lasts, err
}

// Count returns the count of a key and how long it lasts, and adds nothing.
func (l *Limits) Count(ctx context.Context, name string, key []byte) (times int, lasts time.Duration, err error) {
	err = l.ask(ctx, func(b *pgx.Batch) {
		b.Queue(`SELECT coalesce(max(times), 0), coalesce(max(until) - statement_timestamp(), '0')
			FROM cluster.guess WHERE key = $1 AND until > statement_timestamp()`, l.hash(name, key)).
			QueryRow(func(row pgx.Row) error { return row.Scan(&times, &lasts) })
	})
	return times, lasts, err
}

// Subtract removes one that does not count after all.
func (l *Limits) Subtract(ctx context.Context, name string, key []byte) error {
	return l.ask(ctx, func(b *pgx.Batch) {
		b.Queue(`UPDATE cluster.guess SET times = times - 1 WHERE key = $1 AND times > 0`, l.hash(name, key))
	})
}

// Take takes whole tokens, at most most, from the bucket of a key. A bucket is full at first, with
// burst tokens, and gets perSecond of them back each second. Take returns how many it took and
// how many are left.
func (l *Limits) Take(ctx context.Context, name string, key []byte, most, burst int, perSecond float64) (taken int, left float64, err error) {
	err = l.ask(ctx, func(b *pgx.Batch) {
		// A statement that waited for the row's lock may be older than the row: no tokens for that.
		b.Queue(`INSERT INTO cluster.bucket AS b (key, tokens, taken, at, until)
			VALUES ($1, $3::int - least($2::int, $3), least($2, $3), statement_timestamp(), statement_timestamp() + $3 / $4::float8 * interval '1 s')
			ON CONFLICT (key) DO UPDATE SET (tokens, taken, at, until) = (
				SELECT available - least($2, floor(available)), least($2, floor(available)),
					greatest(b.at, statement_timestamp()), excluded.until
				FROM (SELECT least($3, b.tokens + $4 * greatest(0, extract(epoch FROM statement_timestamp() - b.at))) AS available) AS filled)
			RETURNING taken, tokens`, l.hash(name, key), most, burst, perSecond).
			QueryRow(func(row pgx.Row) error { return row.Scan(&taken, &left) })
	})
	return taken, left, err
}

// Run deletes expired rows every minute, until ctx ends. One node may run it, or all.
func (l *Limits) Run(ctx context.Context) error {
	for {
		select {
		case <-time.After(deleteEvery):
		case <-ctx.Done():
			return nil
		}
		if _, err := l.DeleteExpired(ctx); err != nil && ctx.Err() == nil {
			l.db.log.Warn("expired limits could not be deleted", "error", err)
		}
	}
}

// DeleteExpired deletes the counts that are zero and the buckets that are full, a thousand in a
// transaction. It returns how many it deleted.
func (l *Limits) DeleteExpired(ctx context.Context) (deleted int64, err error) {
	for _, table := range []string{"cluster.guess", "cluster.bucket"} {
		for {
			var n int64
			err := l.ask(ctx, func(b *pgx.Batch) {
				// The scan of the table is cheaper than an index that every update would have to
				// change. SKIP LOCKED, so that nobody waits and no two nodes wait for each other.
				b.Queue(`DELETE FROM `+table+` WHERE key = ANY(ARRAY(
					SELECT key FROM `+table+` WHERE until <= statement_timestamp() LIMIT $1 FOR UPDATE SKIP LOCKED))`, deleteAtOnce).
					Exec(func(tag pgconn.CommandTag) error {
						n = tag.RowsAffected()
						return nil
					})
			})
			deleted += n
			if err != nil {
				return deleted, err
			}
			if n < deleteAtOnce {
				break
			}
		}
	}
	return deleted, nil
}

func (l *Limits) ask(ctx context.Context, queue func(b *pgx.Batch)) error {
	ctx, cancel := context.WithTimeout(ctx, limitsTimeout)
	defer cancel()
	select {
	case l.using <- struct{}{}:
		defer func() { <-l.using }()
	case <-ctx.Done():
		return failed("ask", ctx.Err())
	}
	return l.db.Volatile(ctx, queue)
}

// hash is what the tables have for a key. Without the secret nobody can find out the addresses
// that were hashed by trying all of them.
func (l *Limits) hash(name string, key []byte) []byte {
	mac := hmac.New(sha256.New, l.secret)
	mac.Write([]byte(name))
	mac.Write([]byte{0}) // no name contains it
	mac.Write(key)
	return mac.Sum(nil)
}
