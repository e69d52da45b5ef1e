package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"konto/cmd/konto/control"
	"konto/cmd/konto/copies"
	"konto/cmd/konto/datafolder"
)

type backupCommand struct {
	File string `arg:"" name:"file" type:"path" help:"File to make; one that exists is not overwritten."`
}

func (c *backupCommand) Help() string {
	return `Copies the log while it is in use, restores the copy beside FILE, checks all of it there, and only then calls it
good. FILE holds no keys: what is in it can be read with keys.db and the master key alone, which konto keys backup
copies. Keep the two apart.

Examples:

    konto backup /backup/konto-$(date +%F).db
    konto backup /backup/now.db --json`
}

func (c *backupCommand) Run(ctx context.Context, on *opened, out *control.Output) error {
	made, err := copies.Backup(ctx, on.Folder, c.File, out.Events)
	if err != nil {
		return err
	}
	return out.Object(made)
}

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

func (c *restoreCommand) run(ctx context.Context, l *line, stdout, stderr io.Writer) error {
	m := control.NewMeter(stderr)
	defer m.Clear()
	out := control.NewMeteredOutput(stdout, l.json, m)
	begun := !datafolder.HoldsKonto(l.folder())
	if begun && l.data == "" {
		return fmt.Errorf("nothing was restored: there is no konto in %s; to begin one there, name it: --data %s", l.folder(), l.folder())
	}
	var r copies.Restored
	err := datafolder.WhileLocked(l.folder(), "konto "+l.path, func() (err error) {
		r, err = copies.Restore(ctx, l.folder(), copies.RestoreConfig{File: c.File, Keys: c.Keys, Lose: c.Yes, Tell: out.Events})
		return err
	})
	if err != nil {
		return fmt.Errorf("nothing was restored: %w", err)
	}
	if begun {
		tellBegun(stderr, l.folder())
	}
	if err := reopen(ctx, l, out, stderr); err != nil {
		return fmt.Errorf("the backup is in its place, but: %w", err)
	}
	return errors.Join(out.Object(r), out.Flush())
}

// reopen opens the folder after its log or its keys were exchanged. What cannot be done
// yet is told, such as an erasure that the next start tries again.
func reopen(ctx context.Context, l *line, out *control.Output, stderr io.Writer) error {
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	warn := func(text string) { fmt.Fprintf(stderr, "konto: %s\n", text) }
	err := copies.Reopen(ctx, datafolder.Config{Path: l.folder(), Holder: "konto " + l.path, Log: log, Warn: warn}, out.Events)
	return errors.Join(err, out.Flush())
}
