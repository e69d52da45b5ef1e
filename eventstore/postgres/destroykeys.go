package postgres

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"konto/events"
	"konto/eventstore/keyring"
)

// Destroy implements eventstore.KeyStore. When it returns nil, the tombstones are durable, and no
// page of the table in the server's memory has the old bytes. The server's files have them until its
// next checkpoint, its write-ahead log until the segments are removed or written again, and backups
// of the server for as long as they are kept. If somebody reads an old state for longer than 5 s,
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
	names = slices.Compact(names)
	clean, err := k.vacuumOnce(ctx, false)
	clean = clean && err == nil // whatever the error is, the keys are destroyed first
	if err := k.write(ctx, func(tx pgx.Tx) error { return k.bury(ctx, tx, clean, names) }); err != nil {
		return inKeys(err)
	}
	return inKeys(k.vacuum(ctx)) // also if all were destroyed: an earlier call may have failed here
}

// bury stores tombstones for sorted names.
func (k *Keys) bury(ctx context.Context, tx pgx.Tx, clean bool, names []string) error {
	w, err := k.current(ctx, tx)
	if err != nil {
		return err
	}
	tombstones := make([]keyRow, len(names))
	for i, name := range names {
		tombstones[i] = keyRow{name, keyring.Tombstone()}
	}
	if err := insertKeys(ctx, tx, w, tombstones); err != nil { // for those that have no key
		return err
	}
	rows, err := lockKeys(ctx, tx, `name = ANY($1) ORDER BY name`, names)
	if err != nil {
		return err
	}
	return k.replace(ctx, tx, w, clean, rows, func(r storedKey) ([]byte, error) {
		key, err := k.unwrap(r) // one that cannot be unwrapped is destroyed like any other
		if err == nil && keyring.IsDestroyed(key) {
			return nil, nil
		}
		return keyring.Tombstone(), nil
	})
}
