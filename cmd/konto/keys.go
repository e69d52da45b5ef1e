package main

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"konto/cmd/konto/control"
	"konto/cmd/konto/copies"
	"konto/cmd/konto/datafolder"
)

type keysBackup struct {
	Dir     string   `arg:"" name:"dir" type:"path" help:"Folder for the copy; it must exist."`
	KeepFor lifetime `name:"keep-for" default:"720h" placeholder:"DURATION" help:"Delete konto's copies there that are older than this."`
}

func (c *keysBackup) Help() string {
	return `Copies keys.db as DIR/keys-<log>-<time>.db while it is in use, and opens the copy with the master
key. Then it deletes copies of this log's keys that are older than --keep-for, but never the last
one. It also copies erasures.ndjson.

Whoever has an older copy of keys.db and a backup of the log can still read an account that was
erased. The account is gone everywhere when the last copy from before its erasure is deleted. Keep
these copies apart from those of konto backup, and the master key apart from both.

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
	audit(on, "keys backup")
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
	return `Replaces keys.db with a copy, while no server runs. The copy is checked first: it must open with the
master key, belong to the same log, and hold the key of every stream in it. The present keys.db is
moved into replaced-<time>/ in the data folder, with its write-ahead log, which would damage the
copy. Leave erasures.ndjson as it is: with it, accounts that were erased after the copy was made are
erased again before anybody can read them.

The keys that were moved aside can still read accounts that are erased later: delete them when you
do not need them.

A copy that is older than the log is refused. Restore it with konto restore --keys, together with a
backup of the log that is older than the copy.

Examples:

    konto keys restore /safe/konto-keys/keys-0badc0de-20261121T030000.000Z.db`
}

// keysRestored describes a copy of keys.db that was restored.
type keysRestored struct {
	File     string `json:"file"`
	Verified bool   `json:"verified"`
	Replaced string `json:"replaced,omitzero"` // where the file is that was there before
}

func (c *keysRestore) run(ctx context.Context, l *line, stdout, stderr io.Writer) error {
	done := keysRestored{File: c.File, Verified: true}
	return replacing{l, stdout, stderr, "restored", false}.run(ctx, &done, func(*control.Output) error {
		return datafolder.WhileLocked(l.folder(), "konto "+l.path, func() (err error) {
			done.Replaced, err = copies.RestoreKeys(ctx, l.folder(), c.File)
			return err
		})
	})
}

type keysRotate struct {
	// Next is KONTO_NEXT_MASTER_KEY of the caller. A server cannot know it otherwise, since
	// its own environment is that of its start.
	Next string `kong:"-"`
}

func (c *keysRotate) Help() string {
	return `Wraps all keys with another master key, also while konto serves. Nothing else is encrypted again.
Older copies of keys.db open only with the old master key: make a new copy, and destroy the old ones
together with the old key.

konto makes the next master key and replaces master.key with it. If KONTO_MASTER_KEY gives the
master key, the next one is KONTO_NEXT_MASTER_KEY, 64 hex digits in the environment of this command.
After that, set KONTO_MASTER_KEY to the new value before each start. If the rotation may have been
interrupted, start with both variables set, and rotate again.

Several nodes (--store) need both keys meanwhile. Restart the nodes one after the other with
KONTO_NEXT_MASTER_KEY set beside KONTO_MASTER_KEY, then rotate once, from any machine that has both.
Then make the next key KONTO_MASTER_KEY of every node, and restart them again. A node that lacks the
next key cannot read keys once the rotation has begun.

Examples:

    konto keys rotate
    (umask 077; openssl rand -hex 32 > next.key)     # keep a copy: nothing opens keys.db without it
    KONTO_NEXT_MASTER_KEY=$(cat next.key) konto keys rotate`
}

// readInput reads the next master key, which is sent to the process that holds the data folder.
func (c *keysRotate) readInput(io.Reader) error {
	c.Next = os.Getenv("KONTO_NEXT_MASTER_KEY")
	return nil
}

func (c *keysRotate) Run(ctx context.Context, on *opened, out *control.Output) error {
	audit(on, "keys rotate")
	rotated, notice, err := copies.RotateKeys(ctx, on.Folder, c.Next)
	if err != nil {
		return err
	}
	return out.Object(struct {
		Rotated uint64 `json:"rotated"`
		Notice  string `json:"notice"`
	}{rotated, notice})
}
