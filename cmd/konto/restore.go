package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/sqlite"
)

type restoreCommand struct {
	File string `arg:"" name:"file" type:"path" help:"A backup that konto backup made."`
}

func (c *restoreCommand) Help() string {
	return `Puts a backup in the place of the log, while no server runs. The backup is checked first, and keys.db must be that of
the same log and hold all of its keys. The log that was there is moved aside, never deleted. What is made from the
log is made again. Accounts that were erased since the backup are erased again, by the ledger beside keys.db.

After a loss of everything, put keys.db, master.key and erasures.ndjson into an empty folder first.

Examples:

    konto restore /backup/konto-2026-11-21.db
    konto restore /backup/konto-2026-11-21.db --data /var/lib/konto`
}

// restored is what konto tells of a backup that it restored.
type restored struct {
	backedUp
	Replaced string `json:"replaced,omitzero"` // where the log is that was there before
}

func (c *restoreCommand) run(ctx context.Context, l *line, stdout, stderr io.Writer) error {
	m := newMeter(stderr)
	defer m.clear()
	out := newMeteredOutput(stdout, l.json, m)
	var r restored
	err := alone(l, func(folder string) (err error) {
		r, err = restore(ctx, folder, c.File, out)
		return err
	})
	if err != nil {
		return fmt.Errorf("nothing was restored: %w", err)
	}
	if err := comeBack(ctx, l, out, stderr); err != nil {
		return fmt.Errorf("the backup is in its place, but: %w", err)
	}
	return errors.Join(out.object(r), out.flush())
}

// alone calls do with the data folder, locked, and what was interrupted in it finished.
func alone(l *line, do func(folder string) error) error {
	folder := l.folder()
	if missing(folder) {
		return fmt.Errorf("there is no folder %s", folder)
	}
	lock, err := lockFolder(folder, "konto "+l.path)
	var held *folderLocked
	if errors.As(err, &held) {
		return fmt.Errorf("%w, which must be stopped first", held)
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := settleIncoming(folder); err != nil {
		return err
	}
	return do(folder)
}

// restore puts a backup in the place of the log of a locked folder.
func restore(ctx context.Context, folder, file string, out *output) (restored, error) {
	if info, err := os.Stat(file + "-wal"); err == nil && info.Size() > 0 {
		return restored{}, fmt.Errorf("%s is a log in use, with a write-ahead log beside it, and no backup", file)
	}
	if missing(filepath.Join(folder, "keys.db")) {
		return restored{}, fmt.Errorf("there is no keys.db in %s, without which no backup can be read; put it there, with its master key", folder)
	}
	staged, err := stageIncoming(folder)
	if err != nil {
		return restored{}, err
	}
	b, err := stageBackup(ctx, folder, staged, file, out)
	if err != nil {
		return restored{}, errors.Join(err, os.RemoveAll(staged))
	}
	aside, err := commitIncoming(folder, time.Now())
	return restored{b, aside}, err
}

// stageBackup copies a backup, and checks the copy and that the folder's keys fit it.
func stageBackup(ctx context.Context, folder, staged, file string, out *output) (backedUp, error) {
	log := filepath.Join(staged, "log.db")
	if err := copyFile(ctx, file, log); err != nil {
		return backedUp{}, err
	}
	found, err := sqlite.Inspect(ctx, log, out.events)
	if err != nil {
		return backedUp{}, fmt.Errorf("%s is not good: %w", file, err)
	}
	if err := checkKeys(ctx, folder, log, found); err != nil {
		return backedUp{}, fmt.Errorf("keys.db does not fit %s: %w", file, err)
	}
	return described(file, found)
}

// checkKeys tells whether the keys of a folder are those of a log, and all of them.
func checkKeys(ctx context.Context, folder, path string, log sqlite.Extent) (err error) {
	keys, err := masterOf(folder).Open(ctx, filepath.Join(folder, "keys.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keys.Close()) }()
	if err := keys.Bind(ctx, log.ID, false); err != nil {
		return err
	}
	records, err := sqlite.Open(ctx, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, records.Close()) }()
	for after := uint64(0); after < log.Position; {
		page, err := records.ReadAll(ctx, after, 1000)
		if err != nil {
			return err
		}
		for _, r := range page {
			if err := checkKey(ctx, keys, r); err != nil {
				return err
			}
			after = r.Position
		}
	}
	return nil
}

// checkKey looks at the events that begin streams.
func checkKey(ctx context.Context, keys *keyring.Keyring, r eventstore.Record) error {
	if r.Version != 1 || !events.Sealed(r.Type) {
		return nil
	}
	_, err := keys.Cipher(ctx, r.Stream)
	switch {
	case errors.Is(err, eventstore.ErrDestroyed):
		return nil
	case errors.Is(err, eventstore.ErrNoKey):
		return fmt.Errorf("it is older than the log's position %d: %w", r.Position, err)
	}
	return err
}

// comeBack opens a folder whose log was exchanged, as every start would: openHouse
// does what the ledger of erasures says, and the read model is made again.
func comeBack(ctx context.Context, l *line, out *output, stderr io.Writer) error {
	// What cannot be done yet is told, such as an erasure that the next start tries again.
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	h, err := openHouse(ctx, houseConfig{folder: l.folder(), holder: "konto " + l.path, log: log})
	if err != nil {
		return err
	}
	return errors.Join(h.do(ctx, comingBack{}, out), h.Close())
}

// comingBack waits, as a command, for the read model.
type comingBack struct{}

func (comingBack) Run(ctx context.Context, h *house, out *output) error {
	head, err := h.store.Head(ctx)
	if err != nil {
		return err
	}
	for position := h.follower.Status().Position; position < head; position = h.follower.Status().Position {
		out.events(position, head)
		if err := h.reached(ctx, min(head, position+5000)); err != nil {
			return err
		}
	}
	return nil
}
