package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"konto/events"
	"konto/eventstore/keyring"
)

const (
	// destroyedAtOnce is how many keys are destroyed between two VACUUMs. If all of them are on one
	// page, their tombstones still fit there; see the table's migration.
	destroyedAtOnce = 25

	// vacuumWait is how long a VACUUM is repeated because somebody reads an old state.
	vacuumWait = 5 * time.Second
)

// errOldBytes is returned if old bytes could not be removed.
var errOldBytes = errors.New("old keys are still in the table: somebody reads an old state of the database, or the master key is being rotated")

// Destroy implements eventstore.KeyStore. When it returns nil, the tombstones are durable, and no
// page of the table in the server's memory has the old bytes. The server's files have them until its
// next checkpoint, its write-ahead log until it has recycled the segments, and backups of the server
// for as long as they are kept. If somebody reads an old state of the database for longer than 5 s,
// if a rotation is under way, or if konto's role does not own the table, the keys are destroyed but
// Destroy returns an error.
func (k *Keys) Destroy(ctx context.Context, streams ...events.Stream) error {
	names := make([]string, len(streams))
	for i, stream := range streams {
		if _, _, err := stream.Split(); err != nil { // for example the name of the root key
			return fmt.Errorf("destroy a key: %w", err)
		}
		names[i] = string(stream)
	}
	// First, so that no key is cached that was read before it was destroyed.
	k.Ended(streams...)
	slices.Sort(names)
	tombs, err := k.undestroyed(ctx, slices.Compact(names))
	if err != nil {
		return err
	}
	for some := range slices.Chunk(tombs, destroyedAtOnce) {
		err := k.put(ctx, some, `ON CONFLICT (name) DO UPDATE SET wrapped = excluded.wrapped, master = excluded.master`)
		if err == nil {
			err = k.vacuum(ctx)
		}
		if err != nil {
			return inKeys(err)
		}
	}
	if len(tombs) == 0 { // an earlier call may have failed before it was done
		return inKeys(k.vacuum(ctx))
	}
	return nil
}

// undestroyed returns tombstones for names that have none.
func (k *Keys) undestroyed(ctx context.Context, names []string) (tombs []keyRow, err error) {
	found, err := k.rows(ctx, `name = ANY($1)`, names)
	if err != nil {
		return nil, err
	}
	destroyed := map[string]bool{}
	for _, r := range found {
		key, err := k.unwrap(r) // one that cannot be unwrapped is destroyed like any other
		destroyed[r.name] = err == nil && keyring.IsDestroyed(key)
	}
	for _, name := range names {
		if !destroyed[name] {
			tombs = append(tombs, keyRow{name, keyring.Tombstone()})
		}
	}
	return tombs, nil
}

// vacuum removes old versions of rows from the table's pages. VACUUM says nothing of versions that
// it could not remove, because a transaction may still see them or a page was in use. So the
// server's count of them is asked for. With FREEZE, VACUUM waits for pages in use.
func (k *Keys) vacuum(ctx context.Context) error {
	for began := time.Now(); ; {
		dead, err := k.vacuumOnce(ctx)
		if err != nil || dead == 0 {
			return err
		}
		if time.Since(began) > vacuumWait {
			return errOldBytes
		}
		k.db.pause(retryEvery)
	}
}

// vacuumOnce returns how many old versions of rows are left.
func (k *Keys) vacuumOnce(ctx context.Context) (dead int, err error) {
	conn, err := k.db.pool.Acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Release()
	var at timeline
	var before, after int // how often the table was vacuumed
	stats := `SELECT ` + timelineOf + `, vacuum_count, n_dead_tup FROM pg_stat_user_tables WHERE relid = 'keys.keys'::regclass`
	if err := conn.QueryRow(ctx, stats).Scan(&at, &before, &dead); err != nil {
		return 0, err
	}
	if _, err := conn.Exec(ctx, `VACUUM (FREEZE) keys.keys`); err != nil {
		return 0, err
	}
	if err := conn.QueryRow(ctx, stats).Scan(&at, &after, &dead); err != nil {
		return 0, err
	}
	if after == before {
		return 0, errors.New("VACUUM did nothing; konto's role must own the table keys.keys, and track_counts must be on")
	}
	c, err := k.db.barriers.pass(ctx)
	if err == nil && c.timeline != at {
		err = errors.New("the server was replaced meanwhile")
	}
	return dead, err
}
