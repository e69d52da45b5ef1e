package keyring

import (
	"context"
	"errors"
	"fmt"
	"os"

	"konto/eventstore/sqlitefile"
)

// Backup copies the keyring, tombstones included, into a new file, while it is in
// use: durably, but for the file's name. The copy is opened with the master key,
// in a folder of its own beside it, and every key in it unwrapped, before Backup
// says that it is good. After an error it is not there.
func (m Master) Backup(ctx context.Context, k *Keyring, to string) (err error) {
	// A copy made between two steps of a rotation would open with a master key
	// that is about to be moved.
	k.rotating.Lock()
	defer k.rotating.Unlock()
	if err := sqlitefile.Copy(ctx, k.path, to); err != nil {
		return err
	}
	err = sqlitefile.Stamp(to) // or it could be put beside this file's write-ahead log
	if err == nil {
		err = m.try(ctx, to)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("the backup of %s is not good: %w", k.path, err), os.Remove(to))
	}
	return nil
}

// try opens a copy of a backup: the backup itself stays as it was written.
func (m Master) try(ctx context.Context, backup string) error {
	return sqlitefile.Try(ctx, backup, func(restored string) error {
		k, err := m.OpenCopy(ctx, restored)
		if err != nil {
			return err
		}
		return errors.Join(k.Check(ctx), k.Close())
	})
}

// OpenCopy is Open for a file that may not stay: it makes no new one, and leaves the
// files of the master key as they are.
func (m Master) OpenCopy(ctx context.Context, keys string) (*Keyring, error) {
	if _, err := os.Stat(keys); err != nil {
		return nil, err
	}
	if !sqlitefile.HasHeader(keys) {
		return nil, fmt.Errorf("%s: %w", keys, sqlitefile.ErrMalformed)
	}
	k, err := m.openPresent(ctx, keys)
	if errors.Is(err, ErrWrongMaster) { // the keys were rotated, and KONTO_MASTER_KEY is not set anew yet
		if master, nextErr := m.next(); nextErr == nil {
			k, err = Open(ctx, keys, master)
		}
	}
	return k, err
}
