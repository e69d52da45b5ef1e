package keyring

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"konto/events"
	"konto/eventstore"
)

// Destroy destroys the keys of streams for good. Afterwards Cipher and Create return
// eventstore.ErrDestroyed, even for a stream that had no key. When Destroy returns nil, neither
// the file nor its write-ahead log holds the old keys, not even wrapped. A key that is
// destroyed already is not an error. After a crash or an error, call Destroy again.
//
// A cipher that was returned before may still be in use.
func (k *Keyring) Destroy(ctx context.Context, streams ...events.Stream) error {
	var present []events.Stream
	for _, stream := range streams {
		if _, _, err := stream.Split(); err != nil { // for example the name of the root key
			return fmt.Errorf("destroy a key: %w", err)
		}
		_, err := k.load(ctx, string(stream))
		switch {
		case err == nil, errors.Is(err, eventstore.ErrNoKey), errors.Is(err, ErrDamagedKey):
			present = append(present, stream)
		case !errors.Is(err, eventstore.ErrDestroyed):
			return err
		}
	}
	if len(present) > 0 {
		if err := k.replaceKeys(ctx, present); err != nil {
			return k.failed(err)
		}
	}
	return k.overwrite(ctx)
}

// Ended evicts the ciphers of streams that have ended. Only this process uses the file, so
// Destroy evicts them too.
func (k *Keyring) Ended(streams ...events.Stream) {
	for _, stream := range streams {
		k.ciphers.Remove(stream)
	}
}

// replaceKeys commits tombstones.
func (k *Keyring) replaceKeys(ctx context.Context, streams []events.Stream) error {
	tx, err := k.writer.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	put, err := tx.PrepareContext(ctx, `INSERT INTO keys (stream, wrapped, created) VALUES (?, ?, ?)
		ON CONFLICT (stream) DO UPDATE SET wrapped = excluded.wrapped`)
	if err != nil {
		return err
	}
	now := time.Now().UnixMilli()
	for _, stream := range streams {
		if _, err := put.ExecContext(ctx, stream, k.wrap(string(stream), Tombstone()), now); err != nil {
			return err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	err = tx.Commit()
	for _, stream := range streams { // even if the commit failed: the file decides
		k.ciphers.Remove(stream)
	}
	return err
}

// overwrite moves the write-ahead log into the file and empties it, which overwrites old keys in
// both.
func (k *Keyring) overwrite(ctx context.Context) error {
	var busy, frames, moved sql.NullInt64
	err := k.writer.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &moved)
	if err == nil && busy.Int64 != 0 {
		err = errors.New("the file was read for too long; old keys are still in its write-ahead log")
	}
	if err != nil {
		return k.failed(err)
	}
	return nil
}
