package copies

import (
	"context"
	"errors"

	"konto/cmd/konto/datafolder"
	"konto/eventstore/keyring"
)

// errNextUnused refuses a rotation to another key than the operator wants.
var errNextUnused = errors.New("KONTO_NEXT_MASTER_KEY is set, but the master key of this data folder is kept in master.key, whose next one konto makes")

// errNextPresent refuses a rotation that would change nothing.
var errNextPresent = errors.New("KONTO_NEXT_MASTER_KEY is the present master key")

// OlderCopies is the notice about copies of keys.db from before a rotation.
const OlderCopies = "copies of keys.db from before open with the old master key alone, which konto keeps nowhere: make a new one with konto keys backup"

// whatToSet is the notice for operators who keep the master key themselves.
const whatToSet = "set KONTO_MASTER_KEY to the value of KONTO_NEXT_MASTER_KEY before the next start"

// RotateKeys wraps all keys with another master key: next, or one that it makes if the master
// key is kept in the folder. notice says what is left to do.
func RotateKeys(ctx context.Context, folder *datafolder.Folder, next string) (rotated uint64, notice string, err error) {
	// A copy of the keys is checked with the master key of its time.
	folder.Copying.Lock()
	defer folder.Copying.Unlock()
	given := folder.Master.Given != ""
	switch {
	case !given && next != "":
		return 0, "", errNextUnused
	case given && next == folder.Master.Given:
		return 0, "", errNextPresent
	}
	master := keyring.Master{Path: folder.Master.Path, Given: folder.Master.Given, Next: next}
	if err := master.Rotate(ctx, folder.Keys); err != nil {
		return 0, "", err
	}
	if rotated, err = folder.Keys.Count(ctx); err != nil {
		return 0, "", err
	}
	if given {
		folder.Master.Given = next
		return rotated, whatToSet + "; " + OlderCopies, nil
	}
	return rotated, OlderCopies, nil
}
