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
	return `Copies the log while it is in use, restores the copy beside FILE, and checks all of it before it
reports success. FILE holds no keys. Only keys.db with its master key can read it: copy keys.db with
konto keys backup, and keep the two copies apart.

Examples:

    konto backup /backup/konto-$(date +%F).db
    konto backup /backup/now.db --json`
}

func (c *backupCommand) Run(ctx context.Context, on *opened, out *control.Output) error {
	audit(on, "backup")
	made, err := copies.Backup(ctx, on.Folder, c.File, out.Events)
	if err != nil {
		return err
	}
	return out.Object(made)
}

type restoreCommand struct {
	File string `arg:"" name:"file" type:"path" help:"A backup that konto backup made."`
	Keys string `name:"keys" type:"path" placeholder:"FILE" help:"Also replace keys.db with this copy."`
	Yes  bool   `name:"yes" help:"Required if the log has events that the backup does not have."`
}

func (c *restoreCommand) Help() string {
	return `Replaces the log with a backup, while no server runs. The backup is checked first, and keys.db must
belong to the same log and hold all of its keys. The present log is moved aside and never deleted.
If it has events that the backup does not have, restore says how many and requires --yes. What
follows from the log is rebuilt. Accounts that were erased after the backup was made are erased
again, because erasures.ndjson names them.

If everything is lost, put master.key and erasures.ndjson into an empty folder first, and give a
copy of keys.db with --keys.

Examples:

    konto restore /backup/konto-2026-11-21.db --yes
    konto restore /backup/konto-2026-11-21.db --keys /safe/keys.db --data /var/lib/konto`
}

func (c *restoreCommand) run(ctx context.Context, l *line, stdout, stderr io.Writer) error {
	var r copies.Restored
	return replacing{l, stdout, stderr, "restored", true}.run(ctx, &r, func(out *control.Output) error {
		return datafolder.WhileLocked(l.folder(), "konto "+l.path, func() (err error) {
			r, err = copies.Restore(ctx, l.folder(), copies.RestoreConfig{File: c.File, Keys: c.Keys, Lose: c.Yes, Progress: out.Events})
			return err
		})
	})
}

// replacing is a command that replaces the log or the keys of a data folder that no server uses.
type replacing struct {
	*line
	stdout, stderr io.Writer
	done           string // what the command does, such as "restored"
	begins         bool   // it may begin a konto in a folder that was named
}

// run calls replace, opens the folder as every start would, and prints result. What cannot be
// done yet is a warning, such as an erasure that the next start tries again.
func (r replacing) run(ctx context.Context, result any, replace func(out *control.Output) error) error {
	m := control.NewMeter(r.stderr)
	defer m.Clear()
	out := control.NewMeteredOutput(r.stdout, r.json, m)
	begun := r.begins && !datafolder.HoldsKonto(r.folder())
	if begun && r.data == "" {
		return fmt.Errorf("nothing was %s: there is no konto in %s; to begin one there, name it: --data %s", r.done, r.folder(), r.folder())
	}
	if err := replace(out); err != nil {
		return fmt.Errorf("nothing was %s: %w", r.done, err)
	}
	if begun {
		reportBegun(r.stderr, r.folder())
	}
	err := copies.Reopen(ctx, datafolder.Config{
		Path: r.folder(), Holder: "konto " + r.path,
		Log:  slog.New(slog.NewTextHandler(r.stderr, &slog.HandlerOptions{Level: slog.LevelError})),
		Warn: func(text string) { fmt.Fprintf(r.stderr, "konto: %s\n", text) },
	}, out.Events)
	if err != nil {
		return errors.Join(fmt.Errorf("everything was %s, but konto cannot use the data folder yet: %w", r.done, err), out.Flush())
	}
	return errors.Join(out.Object(result), out.Flush())
}
