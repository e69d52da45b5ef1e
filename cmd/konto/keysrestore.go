package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"konto/eventstore/sqlite"
)

type keysRestore struct {
	File string `arg:"" name:"file" type:"path" help:"A copy that konto keys backup made."`
}

func (c *keysRestore) Help() string {
	return `Puts a copy in the place of keys.db, while no server runs. The copy is checked first: it must open with the master key,
be of the same log, and hold the key of every stream in it. What was there is moved aside into replaced-<time>/ in the
data folder, with its write-ahead log, which would damage the copy. Leave erasures.ndjson as it is: accounts that were
erased since the copy was made are erased again by it, before anybody can read them.

What was moved aside may be all that still reads accounts which are erased later on: delete it when it is no longer wanted.

A copy that is older than the log is refused. konto restore --keys puts it there with a backup of the log that is older still.

Examples:

    konto keys restore /safe/konto-keys/keys-0badc0de-20261121T030000.000Z.db`
}

// keysRestored is what konto tells of a copy of keys.db that it restored.
type keysRestored struct {
	File     string `json:"file"`
	Verified bool   `json:"verified"`
	Replaced string `json:"replaced,omitzero"` // where the file is that was there before
}

func (c *keysRestore) run(ctx context.Context, l *line, stdout, stderr io.Writer) error {
	m := newMeter(stderr)
	defer m.clear()
	out := newMeteredOutput(stdout, l.json, m)
	done := keysRestored{File: c.File, Verified: true}
	err := alone(l, func(folder string) (err error) {
		done.Replaced, err = c.restore(ctx, folder)
		return err
	})
	if err != nil {
		return fmt.Errorf("nothing was restored: %w", err)
	}
	if err := comeBack(ctx, l, out, stderr); err != nil {
		return fmt.Errorf("the keys are in their place, but: %w", err)
	}
	return errors.Join(out.object(done), out.flush())
}

// restore puts a copy in the place of the keys of a locked folder.
func (c *keysRestore) restore(ctx context.Context, folder string) (aside string, err error) {
	if missing(filepath.Join(folder, "log.db")) {
		return "", fmt.Errorf("there is no log.db in %s that has to fit; konto restore --keys puts both there", folder)
	}
	staged, err := stageIncoming(folder)
	if err != nil {
		return "", err
	}
	if err := c.stage(ctx, folder, staged); err != nil {
		return "", errors.Join(err, os.RemoveAll(staged))
	}
	return commitIncoming(folder, time.Now())
}

// stage takes the copy in, and checks that it fits the log.
func (c *keysRestore) stage(ctx context.Context, folder, staged string) (err error) {
	master, keys := masterOf(folder), filepath.Join(staged, "keys.db")
	if err := stageKeys(ctx, master, c.File, keys); err != nil {
		return err
	}
	log, err := sqlite.Open(ctx, filepath.Join(folder, "log.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	if err := checkKeys(ctx, master, keys, log); err != nil {
		return &ofCopy{fmt.Errorf("%s does not fit the log: %w", c.File, err), keys, c.File}
	}
	// One that opens leaves no write-ahead log, so that it can be put back.
	if old, err := master.OpenCopy(ctx, filepath.Join(folder, "keys.db")); err == nil {
		return old.Close()
	}
	return ctx.Err()
}
