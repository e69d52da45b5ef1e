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

	"konto/eventstore/sqlite"
)

type restoreCommand struct {
	File string `arg:"" name:"file" type:"path" help:"A backup that konto backup made."`
	Keys string `name:"keys" type:"path" placeholder:"FILE" help:"Put this copy of keys.db in its place, too."`
	Yes  bool   `name:"yes" help:"Required if the log has events that the backup does not have."`
}

func (c *restoreCommand) Help() string {
	return `Puts a backup in the place of the log, while no server runs. The backup is checked first, and keys.db must be that of
the same log and hold all of its keys. The log that was there is moved aside, never deleted; if it has events that the
backup does not have, restore tells how many and wants --yes. What is made from the log is made again. Accounts that were
erased since the backup are erased again, by the ledger beside keys.db.

After a loss of everything, put master.key and erasures.ndjson into an empty folder first, and give a copy of keys.db
with --keys.

Examples:

    konto restore /backup/konto-2026-11-21.db --yes
    konto restore /backup/konto-2026-11-21.db --keys /safe/keys.db --data /var/lib/konto`
}

// restored is what konto tells of a backup that it restored.
type restored struct {
	backedUp
	// Lost is how many events the log had that the backup does not have, absent for
	// a log that could not be opened.
	Lost     *uint64 `json:"lost,omitzero"`
	Replaced string  `json:"replaced,omitzero"` // where the files are that were there before
	Notice   string  `json:"notice,omitzero"`
}

// noLedger is told to who puts keys in their place and no ledger beside them.
const noLedger = "there is no erasures.ndjson: if accounts were erased after this copy of the keys was made, they can be read again until the ledger's copy is put there and konto started"

func (c *restoreCommand) run(ctx context.Context, l *line, stdout, stderr io.Writer) error {
	m := newMeter(stderr)
	defer m.clear()
	out := newMeteredOutput(stdout, l.json, m)
	begun := !holdsKonto(l.folder())
	if begun && l.data == "" {
		return fmt.Errorf("nothing was restored: there is no konto in %s; to begin one there, name it: --data %s", l.folder(), l.folder())
	}
	var r restored
	err := alone(l, func(folder string) (err error) {
		r, err = c.restore(ctx, folder, out)
		return err
	})
	if err != nil {
		return fmt.Errorf("nothing was restored: %w", err)
	}
	if begun {
		tellBegun(stderr, l.folder())
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
func (c *restoreCommand) restore(ctx context.Context, folder string, out *output) (restored, error) {
	if c.Keys == "" && missing(filepath.Join(folder, "keys.db")) {
		return restored{}, fmt.Errorf("there is no keys.db in %s, without which no backup can be read; give its copy with --keys", folder)
	}
	staged, err := stageIncoming(folder)
	if err != nil {
		return restored{}, err
	}
	r, err := c.stage(ctx, folder, staged, out)
	if err != nil {
		return restored{}, errors.Join(err, os.RemoveAll(staged))
	}
	if c.Keys != "" && missing(filepath.Join(folder, erasuresName)) {
		r.Notice = noLedger
	}
	r.Replaced, err = commitIncoming(folder, time.Now())
	return r, err
}

// stage takes the backup in, and checks that it fits what is there.
func (c *restoreCommand) stage(ctx context.Context, folder, staged string, out *output) (r restored, err error) {
	path := filepath.Join(staged, "log.db")
	found, err := stageLog(ctx, c.File, path, out)
	if err != nil {
		return r, err
	}
	if r.backedUp, err = described(c.File, found); err != nil {
		return r, err
	}
	keys, told := filepath.Join(folder, "keys.db"), "keys.db"
	if c.Keys != "" {
		keys, told = filepath.Join(staged, "keys.db"), c.Keys
		if err := stageKeys(ctx, masterOf(folder), c.Keys, keys); err != nil {
			return r, err
		}
	}
	log, err := sqlite.Open(ctx, path)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	if err := checkKeys(ctx, masterOf(folder), keys, log); err != nil {
		return r, &ofCopy{fmt.Errorf("%s does not fit %s: %w", told, c.File, err), keys, told}
	}
	var from uint64
	if r.Lost, from, err = ahead(ctx, folder, log, found); err != nil {
		return r, err
	}
	if r.Lost != nil && *r.Lost > 0 && !c.Yes {
		return r, fmt.Errorf("the log in %s has events that %s does not have: %d, from position %d on; to set them aside with it, add --yes",
			folder, c.File, *r.Lost, from)
	}
	return r, nil
}

// comeBack opens a folder whose log was exchanged, as every start would: openHouse
// does what the ledger of erasures says, and the read model is made again.
func comeBack(ctx context.Context, l *line, out *output, stderr io.Writer) error {
	// What cannot be done yet is told, such as an erasure that the next start tries again.
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	warn := func(text string) { fmt.Fprintf(stderr, "konto: %s\n", text) }
	h, err := openHouse(ctx, houseConfig{folder: l.folder(), holder: "konto " + l.path, log: log, warn: warn})
	if err != nil {
		return err
	}
	err = h.follow(ctx, func(ctx context.Context) error { return comingBack{log}.Run(ctx, h, out) })
	return errors.Join(err, out.flush(), h.Close())
}

// comingBack waits, as a command, for the read model, which tells of accounts that
// the keyring knows to be erased, and neither the ledger nor the log that came back.
type comingBack struct{ log *slog.Logger }

func (c comingBack) Run(ctx context.Context, h *house, out *output) error {
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
	return h.applyErasures(ctx, c.log, h.caughtUp, nil)
}
