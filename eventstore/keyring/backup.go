package keyring

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"

	"konto/eventstore/sqlitefile"
)

// Backup copies the keyring, tombstones included, into a new file, while it is in use. The content is
// durable when Backup returns, the file's name is not. Backup opens a copy of the new file
// with the master key and unwraps every key. After an error the file does not exist.
func (m Master) Backup(ctx context.Context, k *Keyring, to string) (err error) {
	// Otherwise the copy could belong to a master key that a rotation is about to replace.
	k.rotating.Lock()
	defer k.rotating.Unlock()
	if err := sqlitefile.Copy(ctx, k.path, to); err != nil {
		return err
	}
	err = sqlitefile.Stamp(to) // so that it does not fit the write-ahead log of this file
	if err == nil {
		err = m.try(ctx, to)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("the backup of %s is not good: %w", k.path, err), os.Remove(to))
	}
	return nil
}

// try checks a copy of a backup, because SQLite could change the backup itself.
func (m Master) try(ctx context.Context, backup string) error {
	return sqlitefile.Try(ctx, backup, func(restored string) error {
		k, err := m.OpenCopy(ctx, restored)
		if err != nil {
			return err
		}
		return errors.Join(k.Check(ctx), k.Close())
	})
}

// OpenCopy is Open for a copy of a keyring. It creates no file, and does not change the files of the
// master key.
func (m Master) OpenCopy(ctx context.Context, keys string) (*Keyring, error) {
	if _, err := os.Stat(keys); err != nil {
		return nil, err
	}
	if !sqlitefile.HasHeader(keys) {
		return nil, fmt.Errorf("%s: %w", keys, sqlitefile.ErrMalformed)
	}
	k, err := m.openPresent(ctx, keys)
	if errors.Is(err, ErrWrongMaster) { // after a rotation KONTO_MASTER_KEY may have the old value
		if master, nextErr := m.next(); nextErr == nil {
			k, err = Open(ctx, keys, master)
		}
	}
	return k, err
}

// Check checks the whole file while it is in use: its pages, its schema, and that each key can be
// unwrapped. It changes nothing. If the file is wrong, the error matches
// sqlitefile.ErrMalformed, sqlitefile.ErrOtherSchema or ErrDamagedKey.
func (k *Keyring) Check(ctx context.Context) error {
	var stamp int32 // see sqlitefile.Tie
	if err := k.readers.QueryRowContext(ctx, "PRAGMA user_version").Scan(&stamp); err != nil {
		return k.failed(err)
	}
	if err := sqlitefile.CheckSchema(ctx, k.readers, fmt.Sprintf("%s; PRAGMA user_version = %d", schema, stamp)); err != nil {
		return k.failed(err)
	}
	for after := ""; ; {
		last, err := k.checkPage(ctx, after)
		if err != nil {
			return k.failed(err)
		}
		if last == after {
			break
		}
		after = last
	}
	return sqlitefile.CheckIntegrity(ctx, k.path)
}

// checkPage unwraps a page of keys after a name, and returns the last name. The lock keeps a
// rotation from committing meanwhile.
func (k *Keyring) checkPage(ctx context.Context, after string) (last string, err error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	tx, err := k.readers.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return "", err
	}
	defer tx.Rollback()
	page, err := wrappedKeys(ctx, tx, after)
	if err != nil {
		return "", err
	}
	last = after
	for _, r := range page {
		if _, err := k.wrapper.Unwrap(r.name, r.wrapped); err != nil {
			return "", err
		}
		last = r.name
	}
	return last, nil
}
