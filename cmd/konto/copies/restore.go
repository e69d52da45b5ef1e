package copies

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"konto/cmd/konto/datafolder"
	"konto/eventstore/sqlite"
)

// Restored is what konto tells of a backup that it restored.
type Restored struct {
	BackedUp
	// Lost is how many events the log had that the backup does not have, absent for
	// a log that could not be opened.
	Lost     *uint64 `json:"lost,omitzero"`
	Replaced string  `json:"replaced,omitzero"` // where the files are that were there before
	Notice   string  `json:"notice,omitzero"`
}

// NoLedger is told to who puts keys in their place and no ledger beside them.
const NoLedger = "there is no erasures.ndjson: if accounts were erased after this copy of the keys was made, they can be read again until the ledger's copy is put there and konto started"

// RestoreConfig configures Restore.
type RestoreConfig struct {
	File string // the backup
	Keys string // a copy of keys.db to restore with it, "" for none
	// Lose lets a log be replaced that has events which the backup does not have.
	Lose bool
	Tell Progress
}

// Restore puts a backup in the place of the log of a locked folder.
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
	if c.Keys != "" && datafolder.Missing(filepath.Join(folder, datafolder.ErasuresName)) {
		r.Notice = NoLedger
	}
	r.Replaced, err = datafolder.CommitIncoming(folder, time.Now())
	return r, err
}

// stage takes the backup in, and checks that it fits what is there.
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

// Reopen opens a folder whose log or keys were exchanged, as every start would: that
// erases again who is to be erased. It returns once the read model is made again, which
// tells of accounts that the keyring knows to be erased, and neither the ledger nor the
// log that came back.
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
		return h.ApplyErasures(ctx, cfg.Log, h.CatchUp, nil)
	})
	return errors.Join(err, h.Close())
}
