package keyring

import (
	"bytes"
	"context"
	"errors"

	"konto/eventstore"
)

// ErrOtherLog is matched by Bind's error if the keys belong to another log. Nothing was changed.
// Restore the file that was lost or replaced.
var ErrOtherLog = errors.New("keys belong to another log, or the log was lost and begun again")

// Bind binds the keyring to the log with an id when it is called for the first time, and checks
// the id afterwards. If the log is not empty, the keyring must be bound already: otherwise it is
// a new file in place of one that was lost.
func (k *Keyring) Bind(ctx context.Context, log []byte, empty bool) error {
	bound, err := k.load(ctx, LogName)
	if errors.Is(err, eventstore.ErrNoKey) && empty {
		if err := k.inserts.Add(row{LogName, log}); err != nil {
			return k.failed(err)
		}
		bound, err = k.load(ctx, LogName)
	}
	switch {
	case errors.Is(err, eventstore.ErrNoKey):
		return k.failed(ErrOtherLog)
	case err != nil:
		return err
	case !bytes.Equal(bound, log):
		return k.failed(ErrOtherLog)
	}
	return nil
}

// Bound reports whether the keyring is bound to a log.
func (k *Keyring) Bound(ctx context.Context) (bool, error) {
	_, err := k.load(ctx, LogName)
	if errors.Is(err, eventstore.ErrNoKey) {
		return false, nil
	}
	return err == nil, err
}

// Count returns the number of keys in the file, including destroyed keys and the keyring's own.
func (k *Keyring) Count(ctx context.Context) (n uint64, err error) {
	if err := k.readers.QueryRowContext(ctx, "SELECT count(*) FROM keys").Scan(&n); err != nil {
		return 0, k.failed(err)
	}
	return n, nil
}
