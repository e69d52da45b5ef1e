package keyring

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"konto/events"
	"konto/eventstore"
)

// tombstone takes the place of a destroyed key. It is wrapped as a key is, so
// that a row which merely was damaged never passes for one whose key was
// destroyed: its events would read as erased. And it has a key's length, so that
// SQLite writes it over the old bytes where they are. A shorter row makes SQLite
// move its neighbours sooner or later, and of what it moves it leaves copies in
// free space, secure_delete or not (with 60,000 keys, 2 of 20,000 remained).
var tombstone [keySize]byte

func isTombstone(key []byte) bool { return bytes.Equal(key, tombstone[:]) }

// Destroy destroys the keys of streams, for good: Cipher and Create give
// eventstore.ErrDestroyed from then on, also for a stream that had no key. When
// it returns nil, neither the file nor its write-ahead log holds the old keys,
// wrapped or not. Streams whose keys are destroyed already are no error; calling
// it again finishes what a crash or an error interrupted.
//
// A cipher that was taken before may still be in use when it returns.
func (k *Keyring) Destroy(ctx context.Context, streams ...events.Stream) error {
	var left []events.Stream
	for _, stream := range streams {
		if _, _, err := stream.Split(); err != nil { // such as the root key's name
			return fmt.Errorf("destroy a key: %w", err)
		}
		_, err := k.load(ctx, string(stream))
		switch {
		case err == nil, errors.Is(err, eventstore.ErrNoKey), errors.Is(err, ErrDamagedKey):
			left = append(left, stream)
		case !errors.Is(err, eventstore.ErrDestroyed):
			return err
		}
	}
	if len(left) > 0 {
		if err := k.bury(ctx, left); err != nil {
			return k.failed(err)
		}
	}
	return k.overwrite(ctx)
}

// bury commits tombstones.
func (k *Keyring) bury(ctx context.Context, streams []events.Stream) error {
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
		if _, err := put.ExecContext(ctx, stream, k.wrap(string(stream), tombstone[:]), now); err != nil {
			return err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	err = tx.Commit()
	for _, stream := range streams { // whatever the commit came to, the file tells
		k.ciphers.Remove(stream)
	}
	return err
}

// overwrite empties the write-ahead log, where the old pages are, into the file,
// which overwrites them there.
func (k *Keyring) overwrite(ctx context.Context) error {
	var busy, frames, moved sql.NullInt64
	err := k.writer.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &moved)
	if err == nil && busy.Int64 != 0 {
		err = errors.New("others read the file for too long; old keys are still in its write-ahead log")
	}
	if err != nil {
		return k.failed(err)
	}
	return nil
}
