package copies

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"konto/cmd/konto/datafolder"
	"konto/cmd/konto/erasure"
	"konto/eventstore/sqlitefile"
)

// Names of copies: prefix, shortID, -, time, suffix. The two files of one backup have the same
// time.
const (
	keysPrefix, keysSuffix     = "keys-", ".db"
	erasedPrefix, erasedSuffix = "erasures-", ".ndjson"
)

// KeysBackedUp describes a copy of keys.db.
type KeysBackedUp struct {
	File     string   `json:"file"`
	Erasures string   `json:"erasures,omitzero"` // the copy of the list of erasures
	Bytes    int64    `json:"bytes"`
	Verified bool     `json:"verified"`
	Deleted  []string `json:"deleted"` // older copies
}

// BackupKeys puts a copy of keys.db and of the list of erasures into a folder, and deletes
// copies there that are older than keepFor.
func BackupKeys(ctx context.Context, folder *datafolder.Folder, to string, keepFor time.Duration) (KeysBackedUp, error) {
	if !folder.Copying.TryLock() {
		return KeysBackedUp{}, errCopying
	}
	defer folder.Copying.Unlock()
	// No account is erased between the copy of the keys and that of the ledger: the ledger names
	// all accounts whose keys are destroyed in the copy, and no others.
	folder.Erasures.Erasing.Lock()
	defer folder.Erasures.Erasing.Unlock()
	id, err := shortID(ctx, folder)
	if err != nil {
		return KeysBackedUp{}, err
	}
	now := time.Now()
	stamp := id + "-" + now.UTC().Format(datafolder.StampLayout)
	done := KeysBackedUp{File: filepath.Join(to, keysPrefix+stamp+keysSuffix), Verified: true, Deleted: []string{}}
	err = makeFile(done.File, func(partial string) error { return folder.Master.Backup(ctx, folder.Keys, partial) })
	if err != nil {
		return done, fmt.Errorf("no backup of the keys was made: %w", err)
	}
	info, err := os.Stat(done.File)
	if err != nil {
		return done, err
	}
	done.Bytes = info.Size()
	if ledger := filepath.Join(folder.Path, erasure.LedgerName); !datafolder.Missing(ledger) {
		done.Erasures = filepath.Join(to, erasedPrefix+stamp+erasedSuffix)
		if err := makeFile(done.Erasures, func(partial string) error { return sqlitefile.CopyFile(ctx, ledger, partial) }); err != nil {
			// Without the list, the keys could bring back accounts that were erased since an
			// older copy of the list.
			err = errors.Join(err, os.Remove(done.File), datafolder.Sync(to))
			return done, fmt.Errorf("no backup of the keys was made: their ledger of erasures: %w", err)
		}
	}
	if done.Deleted, err = deleteOld(now, id, done, keepFor); err != nil {
		return done, fmt.Errorf("the keys are in %s, but older copies are still there: %w", done.File, err)
	}
	return done, nil
}

// shortID distinguishes the copies of this log's keys from those of another log in the same
// folder.
func shortID(ctx context.Context, folder *datafolder.Folder) (string, error) {
	id, err := folder.Log.ID(ctx)
	return hex.EncodeToString(id[:min(len(id), 4)]), err
}

// deleteOld deletes copies of a log's keys whose names say that they are too old, except the
// one that was just made.
func deleteOld(now time.Time, id string, made KeysBackedUp, keepFor time.Duration) (deleted []string, err error) {
	dir := filepath.Dir(made.File)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	deleted = []string{}
	for _, entry := range entries {
		// An unfinished copy holds keys as well, and so does the folder in which it was
		// checked.
		name, tried := strings.CutPrefix(entry.Name(), sqlitefile.TriedPrefix)
		at, ours := madeAt(strings.TrimSuffix(name, partialSuffix), id)
		path := filepath.Join(dir, entry.Name())
		if !ours || now.Sub(at) <= keepFor || path == made.File || path == made.Erasures {
			continue
		}
		remove := os.Remove
		if tried {
			remove = os.RemoveAll
		}
		if err := remove(path); err != nil {
			return deleted, err
		}
		deleted = append(deleted, path)
	}
	slices.Sort(deleted)
	return deleted, datafolder.Sync(dir)
}

// madeAt returns the time in the name of a copy of a log's keys.
func madeAt(name, id string) (at time.Time, ours bool) {
	for prefix, suffix := range map[string]string{keysPrefix: keysSuffix, erasedPrefix: erasedSuffix} {
		stamp, begins := strings.CutPrefix(name, prefix+id+"-")
		stamp, ends := strings.CutSuffix(stamp, suffix)
		if at, err := time.Parse(datafolder.StampLayout, stamp); begins && ends && err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}
