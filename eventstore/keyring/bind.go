package keyring

import (
	"bytes"
	"context"
	"errors"

	"konto/eventstore"
)

// ErrOtherLog is matched by Bind's error when the keys are those of another
// log. Nothing was changed; restore the file that was lost or exchanged.
var ErrOtherLog = errors.New("keys belong to another log, or the log was lost and begun anew")

// Bind ties the keyring to the log with an id, for ever, the first time it is
// called, and checks the id afterwards. Only a log without events may be tied:
// to one that has any, this keyring must be bound already, or it is an empty
// file in the place of the one that was lost.
func (k *Keyring) Bind(ctx context.Context, log []byte, empty bool) error {
	bound, err := k.load(ctx, logName)
	if errors.Is(err, eventstore.ErrNoKey) && empty {
		if err := k.inserts.Add(row{logName, log}); err != nil {
			return k.failed(err)
		}
		bound, err = k.load(ctx, logName)
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

// Bound tells whether the keyring is tied to a log.
func (k *Keyring) Bound(ctx context.Context) (bool, error) {
	_, err := k.load(ctx, logName)
	if errors.Is(err, eventstore.ErrNoKey) {
		return false, nil
	}
	return err == nil, err
}
