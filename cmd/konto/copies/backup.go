package copies

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"

	"konto/cmd/konto/datafolder"
	"konto/eventstore"
	"konto/eventstore/sqlite"
	"konto/eventstore/sqlitefile"
)

// BackedUp describes a backup that was made or restored.
type BackedUp struct {
	File     string `json:"file"`
	Position uint64 `json:"position"` // of the last event in it
	Events   uint64 `json:"events"`
	Chain    string `json:"chain"` // hash of the last event and all before it
	Bytes    int64  `json:"bytes"`
	Verified bool   `json:"verified"`
}

// errCopying is returned while another copy is being made.
var errCopying = errors.New("another backup is being made; wait until it is done")

// Progress is called with how much of a copy is done: done of total events.
type Progress func(done, total uint64)

// Backup makes a file with a copy of the log, restores that copy elsewhere and checks it
// there.
func Backup(ctx context.Context, folder *datafolder.Folder, file string, progress Progress) (BackedUp, error) {
	// Only one at a time: a second backup to the same file would remove the copy of the first.
	if !folder.Copying.TryLock() {
		return BackedUp{}, errCopying
	}
	defer folder.Copying.Unlock()
	var b BackedUp
	err := makeFile(file, func(partial string) (err error) {
		b, err = backUp(ctx, folder, partial, progress)
		return err
	})
	if err != nil {
		return b, fmt.Errorf("no backup was made: %w", err)
	}
	b.File = file
	folder.NoteLogBackup()
	return b, nil
}

// backUp copies the log and checks the copy.
func backUp(ctx context.Context, folder *datafolder.Folder, to string, progress Progress) (BackedUp, error) {
	acknowledged, err := folder.Store.Head(ctx)
	if err != nil {
		return BackedUp{}, err
	}
	if err := folder.Log.Copy(ctx, to); err != nil {
		return BackedUp{}, err
	}
	found, err := tryBackup(ctx, to, progress)
	if err != nil {
		return BackedUp{}, err
	}
	if found.Position < acknowledged {
		return BackedUp{}, fmt.Errorf("the copy ends at position %d, the log went to %d before", found.Position, acknowledged)
	}
	live, err := folder.Log.Extent(ctx, found.Position)
	if err != nil {
		return BackedUp{}, err
	}
	if live.Chain != found.Chain || !bytes.Equal(live.ID, found.ID) {
		return BackedUp{}, fmt.Errorf("the copy differs from the log somewhere up to position %d", found.Position)
	}
	return described(to, found)
}

// tryBackup restores a backup into a folder beside it and checks the result. The backup itself
// is only read, because SQLite would change even a good one.
func tryBackup(ctx context.Context, backup string, progress Progress) (found eventstore.Extent, err error) {
	err = sqlitefile.Try(ctx, backup, func(restored string) (err error) {
		found, err = sqlite.Inspect(ctx, restored, progress)
		return err
	})
	return found, err
}

func described(file string, e eventstore.Extent) (BackedUp, error) {
	info, err := os.Stat(file)
	if err != nil {
		return BackedUp{}, err
	}
	return BackedUp{
		File: file, Position: e.Position, Events: e.Position, // which count from 1 without gaps
		Chain: hex.EncodeToString(e.Chain[:]), Bytes: info.Size(), Verified: true,
	}, nil
}
