package keyring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

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
	if err := m.try(ctx, to); err != nil {
		return errors.Join(fmt.Errorf("the backup of %s is not good: %w", k.path, err), os.Remove(to))
	}
	return nil
}

// try opens a copy of a backup: the backup itself stays as it was written.
func (m Master) try(ctx context.Context, backup string) (err error) {
	scratch, err := os.MkdirTemp(filepath.Dir(backup), ".konto-restored-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	restored := filepath.Join(scratch, "keys.db")
	if err := copyFile(backup, restored); err != nil {
		return err
	}
	k, err := m.openPresent(ctx, restored)
	if errors.Is(err, ErrWrongMaster) { // the keys were rotated, and KONTO_MASTER_KEY is not set anew yet
		if master, nextErr := m.next(); nextErr == nil {
			k, err = Open(ctx, restored, master)
		}
	}
	if err != nil {
		return err
	}
	return errors.Join(k.Check(ctx), k.Close())
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in)
	return err
}
