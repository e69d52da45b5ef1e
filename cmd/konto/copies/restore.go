package copies

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"konto/cmd/konto/datafolder"
	"konto/cmd/konto/erasure"
	"konto/eventstore/sqlite"
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

// NoLedger is the notice for a folder that gets keys and has no list of erasures.
const NoLedger = "there is no erasures.ndjson: if accounts were erased after this copy of the keys was made, they can be read again until the ledger's copy is put there and konto started"

// RestoreConfig configures Restore.
type RestoreConfig struct {
	File string // the backup
	Keys string // a copy of keys.db to restore with it, "" for none
	// Lose allows events of the old log to be lost that the backup does not have.
	Lose bool
	Tell Progress
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
		r.Notice = NoLedger
	}
	r.Replaced, err = datafolder.CommitIncoming(folder, time.Now())
	return r, err
}

// stage copies the backup and checks that it fits the keys.
func (c *RestoreConfig) stage(ctx context.Context, folder, staged string) (r Restored, err error) {
	path := filepath.Join(staged, "log.db")
	found, err := stageLog(ctx, c.File, path, c.Tell)
	if err != nil {
		return r, err
	}
	if r.BackedUp, err = described(c.File, found); err != nil {
		return r, err
	}
	keys, told := filepath.Join(folder, "keys.db"), "keys.db"
	if c.Keys != "" {
		keys, told = filepath.Join(staged, "keys.db"), c.Keys
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
		return r, &ofCopy{fmt.Errorf("%s does not fit %s: %w", told, c.File, err), keys, told}
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
func Reopen(ctx context.Context, cfg datafolder.Config, tell Progress) error {
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
			tell(position, head)
			if err := h.WaitFor(ctx, min(head, position+5000)); err != nil {
				return err
			}
		}
		return h.Erasures.Reconcile(ctx, h.CatchUp)
	})
	return errors.Join(err, h.Close())
}
