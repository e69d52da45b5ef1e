package main

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

	"konto/eventstore/sqlitefile"
)

type keysBackup struct {
	Dir     string   `arg:"" name:"dir" type:"path" help:"Folder to put the copy into; it must exist."`
	KeepFor lifetime `name:"keep-for" default:"720h" placeholder:"DURATION" help:"Delete konto's older copies there that were made longer ago, 720h unless given."`
}

func (c *keysBackup) Help() string {
	return `Copies keys.db as DIR/keys-<log>-<time>.db while it is in use, opens the copy with the master key, and then deletes copies
of this log's keys that are older than --keep-for, never the last. The ledger of erasures is copied along.

An account that was erased can still be read by who has an older copy of keys.db and a backup of the log: it
is forgotten everywhere when the last copy from before its erasure is deleted. Keep these copies apart from those of
konto backup, and the master key apart from both.

Examples:

    konto keys backup /safe/konto-keys
    konto keys backup /safe/konto-keys --keep-for 168h`
}

// Validate is called by kong.
func (c *keysBackup) Validate() error {
	if c.KeepFor == 0 {
		return errors.New("--keep-for must be above 0")
	}
	return nil
}

// The names of copies: prefix, shortID, -, time, suffix. Both of one backup have the
// same time.
const (
	keysPrefix, keysSuffix     = "keys-", ".db"
	erasedPrefix, erasedSuffix = "erasures-", ".ndjson"
	erasuresName               = "erasures.ndjson"
)

// keysBackedUp is what konto tells of a copy of keys.db.
type keysBackedUp struct {
	File     string   `json:"file"`
	Erasures string   `json:"erasures,omitzero"` // the copy of their ledger
	Bytes    int64    `json:"bytes"`
	Verified bool     `json:"verified"`
	Deleted  []string `json:"deleted"` // older copies
}

func (c *keysBackup) Run(ctx context.Context, h *opened, out *output) error {
	if !h.backingUp.TryLock() {
		return errors.New("another backup is being made; wait until it is done")
	}
	defer h.backingUp.Unlock()
	id, err := h.shortID(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	stamp := id + "-" + now.UTC().Format(stampLayout)
	done := keysBackedUp{File: filepath.Join(c.Dir, keysPrefix+stamp+keysSuffix), Verified: true, Deleted: []string{}}
	err = makeFile(done.File, func(partial string) error { return h.master.Backup(ctx, h.keys, partial) })
	if err != nil {
		return fmt.Errorf("no backup of the keys was made: %w", err)
	}
	info, err := os.Stat(done.File)
	if err != nil {
		return err
	}
	done.Bytes = info.Size()
	// After the keys: it says of all that were destroyed in the copy.
	if ledger := filepath.Join(h.folder, erasuresName); !missing(ledger) {
		done.Erasures = filepath.Join(c.Dir, erasedPrefix+stamp+erasedSuffix)
		if err := makeFile(done.Erasures, func(partial string) error { return sqlitefile.CopyFile(ctx, ledger, partial) }); err != nil {
			// Without it, the keys would bring back who was erased since an older copy of it.
			err = errors.Join(err, os.Remove(done.File), syncFolder(c.Dir))
			return fmt.Errorf("no backup of the keys was made: their ledger of erasures: %w", err)
		}
	}
	if done.Deleted, err = c.forget(now, id, done); err != nil {
		return fmt.Errorf("the keys are in %s, but older copies are still there: %w", done.File, err)
	}
	return out.object(done)
}

// shortID tells the copies of this log's keys from those of another's in the same folder.
func (h *house) shortID(ctx context.Context) (string, error) {
	id, err := h.log.ID(ctx)
	return hex.EncodeToString(id[:min(len(id), 4)]), err
}

// forget deletes copies of a log's keys that were made too long ago, by their names,
// but for the one that was made just now.
func (c *keysBackup) forget(now time.Time, id string, made keysBackedUp) (deleted []string, err error) {
	entries, err := os.ReadDir(c.Dir)
	if err != nil {
		return nil, err
	}
	deleted = []string{}
	for _, entry := range entries {
		// What was cut off holds keys as well, and so does the folder it was tried in.
		name, tried := strings.CutPrefix(entry.Name(), sqlitefile.TriedPrefix)
		at, ours := madeAt(strings.TrimSuffix(name, partialSuffix), id)
		path := filepath.Join(c.Dir, entry.Name())
		if !ours || now.Sub(at) <= time.Duration(c.KeepFor) || path == made.File || path == made.Erasures {
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
	return deleted, syncFolder(c.Dir)
}

// madeAt reads the time in the name of a copy of a log's keys.
func madeAt(name, id string) (at time.Time, ours bool) {
	for prefix, suffix := range map[string]string{keysPrefix: keysSuffix, erasedPrefix: erasedSuffix} {
		stamp, begins := strings.CutPrefix(name, prefix+id+"-")
		stamp, ends := strings.CutSuffix(stamp, suffix)
		if at, err := time.Parse(stampLayout, stamp); begins && ends && err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}
