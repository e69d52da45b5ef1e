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
	"konto/eventstore/keyring"
	"konto/eventstore/postgres"
	"konto/eventstore/sqlite"
	"konto/eventstore/sqlitefile"
)

// Names of copies: prefix, shortID, -, time, suffix. The two files of one backup have the same
// time.
const (
	keysPrefix, keysSuffix     = "keys-", ".db"
	erasedPrefix, erasedSuffix = "erasures-", ".ndjson"
)

// errKeysInPostgres refuses what only a file of keys can do.
var errKeysInPostgres = errors.New("keys in Postgres are backed up with their server")

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
	keys, ok := folder.Keys.(*keyring.Keyring)
	if !ok { // a command line with --store is refused before
		return KeysBackedUp{}, errKeysInPostgres
	}
	if !folder.Copying.TryLock() {
		return KeysBackedUp{}, errCopying
	}
	defer folder.Copying.Unlock()
	var done KeysBackedUp
	// No account is erased between the copy of the keys and that of the ledger: the ledger names
	// all accounts whose keys are destroyed in the copy, and no others.
	err := folder.Erasures.Alone(ctx, func(ctx context.Context) (err error) {
		done, err = backupKeys(ctx, folder, keys, to, keepFor)
		return err
	})
	return done, err
}

func backupKeys(ctx context.Context, folder *datafolder.Folder, keys *keyring.Keyring, to string, keepFor time.Duration) (KeysBackedUp, error) {
	id, err := shortID(ctx, folder)
	if err != nil {
		return KeysBackedUp{}, err
	}
	now := time.Now()
	stamp := id + "-" + now.UTC().Format(datafolder.StampLayout)
	done := KeysBackedUp{File: filepath.Join(to, keysPrefix+stamp+keysSuffix), Verified: true, Deleted: []string{}}
	err = makeFile(done.File, func(partial string) error { return folder.Master.Backup(ctx, keys, partial) })
	if err != nil {
		return done, fmt.Errorf("no backup of the keys was made: %w", err)
	}
	info, err := os.Stat(done.File)
	if err != nil {
		return done, err
	}
	done.Bytes = info.Size()
	if ledger := folder.Erasures.Ledger; ledger.Exists() {
		done.Erasures = filepath.Join(to, erasedPrefix+stamp+erasedSuffix)
		if err := makeFile(done.Erasures, func(partial string) error { return ledger.Copy(ctx, partial) }); err != nil {
			// Without the list, the keys could bring back accounts that were erased since an
			// older copy of the list.
			err = errors.Join(err, os.Remove(done.File), datafolder.Sync(to))
			return done, fmt.Errorf("no backup of the keys was made: the list of erasures: %w", err)
		}
	}
	if done.Deleted, err = deleteOld(now, id, done, keepFor); err != nil {
		return done, fmt.Errorf("the keys are in %s, but older copies are still there: %w", done.File, err)
	}
	folder.NoteKeysBackup()
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

// RestoreKeys replaces the keys of a locked folder by a copy, and returns where the old keys
// are now.
func RestoreKeys(ctx context.Context, folder, file string) (aside string, err error) {
	if datafolder.Missing(filepath.Join(folder, "log.db")) {
		return "", fmt.Errorf("there is no log.db in %s; restore both files with konto restore --keys", folder)
	}
	staged, err := datafolder.StageIncoming(folder)
	if err != nil {
		return "", err
	}
	if err := replaceKeys(ctx, folder, staged, file); err != nil {
		return "", errors.Join(err, os.RemoveAll(staged))
	}
	return datafolder.CommitIncoming(folder, time.Now())
}

// replaceKeys stages the copy and checks that it fits the log.
func replaceKeys(ctx context.Context, folder, staged, file string) (err error) {
	master, keys := datafolder.MasterOf(folder), filepath.Join(staged, "keys.db")
	if err := stageKeys(ctx, master, file, keys); err != nil {
		return err
	}
	log, err := sqlite.Open(ctx, filepath.Join(folder, "log.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	if err := checkKeys(ctx, master, keys, log); err != nil {
		return &copyError{fmt.Errorf("%s does not fit the log: %w", file, err), keys, file}
	}
	// If the old file can be opened, this leaves it without a write-ahead log, so that it can
	// be put back.
	if old, err := master.OpenCopy(ctx, filepath.Join(folder, "keys.db")); err == nil {
		return old.Close()
	}
	return ctx.Err()
}

// errNextUnused refuses a rotation to another key than the operator gave.
var errNextUnused = errors.New("KONTO_NEXT_MASTER_KEY is set, but the master key of this data folder is in master.key, and konto makes the next one")

// errNextPresent refuses a rotation that would change nothing.
var errNextPresent = errors.New("KONTO_NEXT_MASTER_KEY is the present master key")

// errNextElsewhere refuses a rotation by a process that has another next master key than the caller.
var errNextElsewhere = errors.New("the node of this data folder was not started with the same KONTO_NEXT_MASTER_KEY: restart every node with it first, or rotate with another --data")

// onEveryNode is the notice about what is left to do when several machines share the keys.
const onEveryNode = "all keys are wrapped with the next master key: make it KONTO_MASTER_KEY (or master.key) of every node and of every machine that runs commands, and restart the nodes one after the other; backups of Postgres from before need the old master key"

// OlderCopies is the notice about copies of keys.db from before a rotation.
const OlderCopies = "older copies of keys.db open only with the old master key, which konto does not keep: make a new copy with konto keys backup"

// whatToSet is the notice for operators who keep the master key themselves.
const whatToSet = "set KONTO_MASTER_KEY to the value of KONTO_NEXT_MASTER_KEY before the next start"

// RotateKeys wraps all keys with another master key: next, or one that it makes if the master
// key is kept in the folder. notice says what is left to do.
func RotateKeys(ctx context.Context, folder *datafolder.Folder, next string) (rotated uint64, notice string, err error) {
	keys, ok := folder.Keys.(*keyring.Keyring)
	if !ok {
		return rotateShared(ctx, folder, next)
	}
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
	if err := master.Rotate(ctx, keys); err != nil {
		return 0, "", err
	}
	if rotated, err = keys.Count(ctx); err != nil {
		return 0, "", err
	}
	if given {
		folder.Master.Given = next
		return rotated, whatToSet + "; " + OlderCopies, nil
	}
	return rotated, OlderCopies, nil
}

// rotateShared wraps the keys in Postgres with the next master key of this process, which every
// node must have.
func rotateShared(ctx context.Context, folder *datafolder.Folder, next string) (rotated uint64, notice string, err error) {
	keys := folder.Keys.(*postgres.Keys)
	folder.Copying.Lock()
	defer folder.Copying.Unlock()
	switch {
	case next != "" && next == folder.Master.Given:
		return 0, "", errNextPresent
	case next != "" && next != folder.Master.Next:
		return 0, "", errNextElsewhere
	}
	if err := keys.Rotate(ctx); err != nil {
		return 0, "", err
	}
	rotated, err = keys.Count(ctx)
	return rotated, onEveryNode, err
}
