package keyring

import (
	"context"
	"database/sql"
	"fmt"
)

// rewrapPage is how many rows are rewrapped at a time.
const rewrapPage = 1000

// Rotate wraps all keys with another 256-bit master key, in one transaction, while the keyring is in
// use. Keys can be read meanwhile; new keys wait. When Rotate returns nil, the old master key
// unwraps nothing in the file or its write-ahead log.
//
// After an error all keys are wrapped by the old or all by the new master key. Keep both until Open
// tells which it is. If a row cannot be unwrapped, the error matches ErrDamagedKey and nothing
// was changed.
func (k *Keyring) Rotate(ctx context.Context, master []byte) error {
	k.rotating.Lock()
	defer k.rotating.Unlock()
	return k.rotate(ctx, master)
}

// rotate is Rotate while the caller holds rotating.
func (k *Keyring) rotate(ctx context.Context, master []byte) error {
	next, err := NewWrapper(master)
	if err != nil {
		return fmt.Errorf("next %w", err)
	}
	tx, err := k.writer.BeginTx(ctx, nil)
	if err != nil {
		return k.failed(err)
	}
	defer tx.Rollback()
	if err := k.rewrap(ctx, tx, next); err != nil {
		return k.failed(err)
	}
	if err := k.commitRewrapped(tx, next); err != nil {
		return k.failed(err)
	}
	return k.overwrite(ctx)
}

// rewrap writes every row. Each row keeps its length, so that SQLite overwrites the old bytes; see
// Tombstone.
func (k *Keyring) rewrap(ctx context.Context, tx *sql.Tx, next *Wrapper) error {
	// k.wrapper can be read without mu, because only a rotation changes it.
	put, err := tx.PrepareContext(ctx, "UPDATE keys SET wrapped = ? WHERE stream = ?")
	if err != nil {
		return err
	}
	for after := ""; ; {
		page, err := wrappedKeys(ctx, tx, after)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, r := range page {
			key, err := k.wrapper.Unwrap(r.name, r.wrapped)
			if err != nil {
				return err
			}
			if _, err := put.ExecContext(ctx, next.Wrap(r.name, key), r.name); err != nil {
				return err
			}
		}
		after = page[len(page)-1].name
	}
}

// wrappedKey is a row of the file.
type wrappedKey struct {
	name    string
	wrapped []byte
}

func wrappedKeys(ctx context.Context, tx *sql.Tx, after string) (page []wrappedKey, err error) {
	rows, err := tx.QueryContext(ctx, "SELECT stream, wrapped FROM keys WHERE stream > ? ORDER BY stream LIMIT ?", after, rewrapPage)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var r wrappedKey
		if err := rows.Scan(&r.name, &r.wrapped); err != nil {
			return nil, err
		}
		page = append(page, r)
	}
	return page, rows.Err()
}

// commitRewrapped commits the rewrapped rows and replaces the wrapper. If the commit fails, it may
// have been stored all the same: the row of the root key tells.
func (k *Keyring) commitRewrapped(tx *sql.Tx, next *Wrapper) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	failed := tx.Commit()
	if failed != nil {
		var wrapped []byte
		if err := k.lookup.QueryRow(RootName).Scan(&wrapped); err != nil {
			return failed
		}
		if _, err := next.Unwrap(RootName, wrapped); err != nil {
			return failed
		}
	}
	k.wrapper = next
	return failed
}
