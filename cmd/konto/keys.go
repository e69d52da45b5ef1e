package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"konto/cmd/konto/control"
	"konto/cmd/konto/copies"
	"konto/cmd/konto/datafolder"
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

func (c *keysBackup) Run(ctx context.Context, on *opened, out *control.Output) error {
	made, err := copies.BackupKeys(ctx, on.Folder, c.Dir, time.Duration(c.KeepFor))
	if err != nil {
		return err
	}
	return out.Object(made)
}

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
	m := control.NewMeter(stderr)
	defer m.Clear()
	out := control.NewMeteredOutput(stdout, l.json, m)
	done := keysRestored{File: c.File, Verified: true}
	err := datafolder.WhileLocked(l.folder(), "konto "+l.path, func() (err error) {
		done.Replaced, err = copies.RestoreKeys(ctx, l.folder(), c.File)
		return err
	})
	if err != nil {
		return fmt.Errorf("nothing was restored: %w", err)
	}
	if err := reopen(ctx, l, out, stderr); err != nil {
		return fmt.Errorf("the keys are in their place, but: %w", err)
	}
	return errors.Join(out.Object(done), out.Flush())
}

type keysRotate struct {
	// Next is KONTO_NEXT_MASTER_KEY of the caller. A server cannot know it otherwise, since
	// its own environment is that of its start.
	Next string `kong:"-"`
}

func (c *keysRotate) Help() string {
	return `Wraps all keys anew under another master key, while konto serves. Nothing else is encrypted anew. Copies of keys.db from
before can be opened with the old master key alone: make a new one, and destroy the old ones with the old key.

The next master key is made, and takes the place of master.key. If KONTO_MASTER_KEY gives the master key, the next one is
KONTO_NEXT_MASTER_KEY, 64 hex digits in the environment of this command; a start with KONTO_MASTER_KEY needs the new value from
then on. To be sure to start also when the rotation was cut off, start with both set, and rotate once more.

Examples:

    konto keys rotate
    (umask 077; openssl rand -hex 32 > next.key)     # keep it first: nothing opens keys.db without it
    KONTO_NEXT_MASTER_KEY=$(cat next.key) konto keys rotate`
}

// readInput sends the next master key along to the process that holds the data folder.
func (c *keysRotate) readInput(io.Reader) error {
	c.Next = os.Getenv("KONTO_NEXT_MASTER_KEY")
	return nil
}

func (c *keysRotate) Run(ctx context.Context, on *opened, out *control.Output) error {
	rotated, notice, err := copies.RotateKeys(ctx, on.Folder, c.Next)
	if err != nil {
		return err
	}
	return out.Object(struct {
		Rotated uint64 `json:"rotated"`
		Notice  string `json:"notice"`
	}{rotated, notice})
}
