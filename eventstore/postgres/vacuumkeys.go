package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"konto/eventstore/keyring"
)

// An update leaves the old version of a row on its page. VACUUM removes it and moves the remaining
// rows of the page together, but it does not clear the space that becomes free. Old keys are
// overwritten all the same if three conditions hold:
//
//   - The new version has the length of the old one, and is on the same page. Then it is below the
//     old one, and at least as many rows move up as are removed above.
//   - There is space for that: a page is filled to less than half, and a row is updated once.
//   - The page had no old versions before. Otherwise rows may have been added below them.
//
// If a condition may not hold, the table is noted to be rewritten into a new file, which keeps
// everybody from reading keys for some seconds per million. That happens if somebody reads an old
// state of the database for long, for example a dump, while keys are destroyed or rewrapped.

// vacuumWait is how long VACUUM is repeated because somebody reads an old state.
const vacuumWait = 5 * time.Second

// errOldBytes is returned if old bytes could not be removed.
var errOldBytes = errors.New("old keys are still in the table: somebody reads an old state of the database, or the master key is being rotated")

// replace replaces keys by what changed returns for each of them, if it is not nil. rows were
// locked in tx. clean says that the table had no old versions of rows.
func (k *Keys) replace(ctx context.Context, tx pgx.Tx, w *keyring.Wrapper, clean bool, rows []storedKey, changed func(storedKey) ([]byte, error)) error {
	var names []string
	var wrapped [][]byte
	var pages []int64
	for _, r := range rows {
		key, err := changed(r)
		if err != nil {
			return err
		}
		if key != nil {
			names, wrapped, pages = append(names, r.name), append(wrapped, w.Wrap(r.name, key)), append(pages, r.page)
		}
	}
	id := w.ID()
	updated, err := tx.Query(ctx, `UPDATE keys.keys SET wrapped = new.wrapped, master = $4
		FROM unnest($1::text[], $2::bytea[], $3::bigint[]) AS new (name, wrapped, page) WHERE keys.name = new.name
		RETURNING new.page <> `+pageOf, names, wrapped, pages, id[:])
	if err != nil {
		return err
	}
	var moved bool
	clean = clean || len(names) == 0
	_, err = pgx.ForEachRow(updated, []any{&moved}, func() error {
		clean = clean && !moved
		return nil
	})
	if err == nil && !clean {
		_, err = tx.Exec(ctx, `UPDATE keys.state SET rewrite = rewrite + 1`)
	}
	return err
}

// vacuum removes old versions of rows from the table, and their bytes.
func (k *Keys) vacuum(ctx context.Context) error {
	for began := time.Now(); ; {
		done, err := k.vacuumOnce(ctx, true)
		if err != nil || done {
			return err
		}
		if time.Since(began) > vacuumWait {
			return errOldBytes
		}
		k.db.pause(retryEvery)
	}
}

// vacuumOnce reports whether no old versions of rows are left. VACUUM says nothing of versions that
// it could not remove, because a transaction may still see them or a page was in use. So the
// server's count of them is asked for.
func (k *Keys) vacuumOnce(ctx context.Context, rewrite bool) (done bool, err error) {
	conn, err := k.db.pool.Acquire(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Release()
	var at timeline
	var before, after, dead int // how often the table was vacuumed, and what is left
	const stats = `SELECT ` + timelineOf + `, vacuum_count, n_dead_tup FROM pg_stat_user_tables WHERE relid = 'keys.keys'::regclass`
	if err := conn.QueryRow(ctx, stats).Scan(&at, &before, &dead); err != nil {
		return false, err
	}
	if _, err := conn.Exec(ctx, `VACUUM keys.keys`); err != nil {
		return false, err
	}
	if err := conn.QueryRow(ctx, stats).Scan(&at, &after, &dead); err != nil {
		return false, err
	}
	if after == before {
		return false, errors.New("VACUUM did nothing; konto's role must own the table keys.keys, and track_counts must be on")
	}
	if dead == 0 && rewrite {
		if err := k.rewrite(ctx, conn); err != nil {
			return false, err
		}
	}
	return dead == 0, k.db.confirm(ctx, at)
}

// rewrite writes the table into a new file, if that was noted. All old versions were removed, so
// none gets into the new file.
func (k *Keys) rewrite(ctx context.Context, conn *pgxpool.Conn) error {
	var noted int64
	if err := conn.QueryRow(ctx, `SELECT rewrite FROM keys.state`).Scan(&noted); err != nil || noted == 0 {
		return err
	}
	// Who waits for this lock makes everybody else wait for it.
	if _, err := conn.Exec(ctx, `SET lock_timeout = '1s'`); err != nil {
		return err
	}
	_, err := conn.Exec(ctx, `VACUUM FULL keys.keys`)
	_, reset := conn.Exec(context.WithoutCancel(ctx), `RESET lock_timeout`)
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == lockNotAvailable {
		return errOldBytes
	}
	if err := errors.Join(err, reset); err != nil {
		return err
	}
	return k.write(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE keys.state SET rewrite = 0 WHERE rewrite = $1`, noted) // not what others noted since
		return err
	})
}

// lockNotAvailable is the SQLSTATE of a lock that was waited for too long.
const lockNotAvailable = "55P03"
