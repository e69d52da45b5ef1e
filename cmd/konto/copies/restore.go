package copies

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"konto/cmd/konto/datafolder"
	"konto/cmd/konto/erasure"
	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/sqlite"
	"konto/eventstore/sqlitefile"
)

// Restored describes a backup that was restored.
type Restored struct {
	BackedUp
	// Lost is how many events the old log had that the backup does not have. It is absent if
	// the old log could not be opened.
	Lost     *uint64 `json:"lost,omitzero"`
	Replaced string  `json:"replaced,omitzero"` // where the old files are
	Notice   string  `json:"notice,omitzero"`
}

// NoErasures is the notice for a folder that gets keys and has no list of erasures.
const NoErasures = "there is no erasures.ndjson: if accounts were erased after this copy of the keys was made, they can be read again until you put a copy of erasures.ndjson there and start konto"

// RestoreConfig configures Restore.
type RestoreConfig struct {
	File string // the backup
	Keys string // a copy of keys.db to restore with it, "" for none
	// Lose allows events of the old log to be lost that the backup does not have.
	Lose     bool
	Progress Progress
}

// Restore replaces the log of a locked folder by a backup.
func Restore(ctx context.Context, folder string, c RestoreConfig) (Restored, error) {
	if c.Keys == "" && datafolder.Missing(filepath.Join(folder, "keys.db")) {
		return Restored{}, fmt.Errorf("there is no keys.db in %s, without which no backup can be read; give its copy with --keys", folder)
	}
	staged, err := datafolder.StageIncoming(folder)
	if err != nil {
		return Restored{}, err
	}
	r, err := c.stage(ctx, folder, staged)
	if err != nil {
		return Restored{}, errors.Join(err, os.RemoveAll(staged))
	}
	if c.Keys != "" && datafolder.Missing(filepath.Join(folder, erasure.LedgerName)) {
		r.Notice = NoErasures
	}
	r.Replaced, err = datafolder.CommitIncoming(folder, time.Now())
	return r, err
}

// stage copies the backup and checks that it fits the keys.
func (c *RestoreConfig) stage(ctx context.Context, folder, staged string) (r Restored, err error) {
	path := filepath.Join(staged, "log.db")
	found, err := stageLog(ctx, c.File, path, c.Progress)
	if err != nil {
		return r, err
	}
	if r.BackedUp, err = described(c.File, found); err != nil {
		return r, err
	}
	keys, name := filepath.Join(folder, "keys.db"), "keys.db"
	if c.Keys != "" {
		keys, name = filepath.Join(staged, "keys.db"), c.Keys
		if err := stageKeys(ctx, datafolder.MasterOf(folder), c.Keys, keys); err != nil {
			return r, err
		}
	}
	log, err := sqlite.Open(ctx, path)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	if err := checkKeys(ctx, datafolder.MasterOf(folder), keys, log); err != nil {
		return r, &copyError{fmt.Errorf("%s does not fit %s: %w", name, c.File, err), keys, name}
	}
	var from uint64
	if r.Lost, from, err = ahead(ctx, folder, log, found); err != nil {
		return r, err
	}
	if r.Lost != nil && *r.Lost > 0 && !c.Lose {
		return r, fmt.Errorf("the log in %s has events that %s does not have: %d, from position %d on; to set them aside with it, add --yes",
			folder, c.File, *r.Lost, from)
	}
	return r, nil
}

// Reopen opens a folder whose log or keys were replaced, as every start would. This erases
// accounts again that are to be erased. It returns when the read model is made again: the read
// model finds accounts that are erased according to the keys, but neither in the list of
// erasures nor in the log that was restored.
func Reopen(ctx context.Context, cfg datafolder.Config, progress Progress) error {
	h, err := datafolder.Open(ctx, cfg)
	if err != nil {
		return err
	}
	err = h.Follow(ctx, func(ctx context.Context) error {
		head, err := h.Store.Head(ctx)
		if err != nil {
			return err
		}
		for position := h.Follower.Status().Position; position < head; position = h.Follower.Status().Position {
			progress(position, head)
			if err := h.WaitFor(ctx, min(head, position+5000)); err != nil {
				return err
			}
		}
		return h.Erasures.Reconcile(ctx)
	})
	return errors.Join(err, h.Close())
}

// copyError is an error about a copy of a file. It names the file instead, which the caller
// knows.
type copyError struct {
	error
	copy, file string
}

// Error implements error.
func (e *copyError) Error() string { return strings.ReplaceAll(e.error.Error(), e.copy, e.file) }

// Unwrap returns the error about the copy.
func (e *copyError) Unwrap() error { return e.error }

// stageFile copies a file that is about to replace another, and checks the copy.
func stageFile(ctx context.Context, file, to string, check func() error) error {
	if err := refuseInUse(file); err != nil {
		return err
	}
	err := sqlitefile.CopyFile(ctx, file, to)
	if err == nil {
		if err = check(); err != nil {
			err = fmt.Errorf("%s cannot be used: %w", file, err)
		}
	}
	if err != nil {
		return &copyError{err, to, file}
	}
	return nil
}

// refuseInUse refuses a file whose newest content is in its write-ahead log.
func refuseInUse(file string) error {
	// A write-ahead log is beside the file itself, not beside a link to it.
	if path, err := filepath.EvalSymlinks(file); err != nil {
		return err
	} else if info, err := os.Stat(path + "-wal"); err == nil && info.Size() > 0 {
		return fmt.Errorf("%s is not a backup but a file in use: a write-ahead log is beside it", file)
	}
	return nil
}

// stageLog stages a backup of the log.
func stageLog(ctx context.Context, file, to string, progress Progress) (found eventstore.Extent, err error) {
	err = stageFile(ctx, file, to, func() (err error) {
		found, err = sqlite.Inspect(ctx, to, progress)
		return err
	})
	return found, err
}

// stageKeys stages a copy of keys.db.
func stageKeys(ctx context.Context, master keyring.Master, file, to string) error {
	return stageFile(ctx, file, to, func() error {
		keys, err := master.OpenCopy(ctx, to)
		if err != nil {
			return err
		}
		return errors.Join(keys.Check(ctx), keys.Close())
	})
}

// checkKeys checks that a file has the keys of a log, and all of them.
func checkKeys(ctx context.Context, master keyring.Master, path string, log eventstore.AdminLog) (err error) {
	id, err := log.ID(ctx)
	if err != nil {
		return err
	}
	keys, err := master.OpenCopy(ctx, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keys.Close()) }()
	if err := keys.Bind(ctx, id, false); err != nil {
		return err
	}
	for after := uint64(0); ; {
		page, err := log.ReadAll(ctx, after, 1000)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, r := range page {
			if err := datafolder.CheckKey(ctx, keys, r); err != nil {
				return err
			}
			after = r.Position
		}
	}
}

// ahead returns how many events the log of a folder has that its backup does not have, and the
// position of the first one. It leaves the log without a write-ahead log, so that the log can be
// restored after it was moved. n is nil if the log cannot be opened; such a log is moved as it
// is.
func ahead(ctx context.Context, folder string, backup eventstore.AdminLog, found eventstore.Extent) (n *uint64, from uint64, err error) {
	path := filepath.Join(folder, "log.db")
	if datafolder.Missing(path) {
		return new(uint64), 0, nil
	}
	if !sqlitefile.HasHeader(path) {
		return nil, 0, nil
	}
	live, err := sqlite.Open(ctx, path)
	if err != nil {
		return nil, 0, ctx.Err()
	}
	defer func() { err = errors.Join(err, live.Close()) }()
	head, err := live.Head(ctx)
	if err != nil {
		return nil, 0, err
	}
	// The hash of a record covers all records before it, so a binary search finds the last
	// common one.
	common := sort.Search(int(min(head, found.Position)), func(i int) bool {
		was, err := live.Extent(ctx, uint64(i)+1)
		is, err2 := backup.Extent(ctx, uint64(i)+1)
		return err != nil || err2 != nil || was.Chain != is.Chain
	})
	more := head - uint64(common)
	return &more, uint64(common) + 1, ctx.Err()
}
