package main

import (
	"context"
	"errors"
	"io"
	"os"

	"konto/eventstore/keyring"
)

type keysRotate struct {
	// Next is the caller's KONTO_NEXT_MASTER_KEY: a server has no other way to
	// learn of it, whose own environment is that of its start.
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

// readInput takes the next master key along, to whoever holds the data folder.
func (c *keysRotate) readInput(io.Reader) error {
	c.Next = os.Getenv("KONTO_NEXT_MASTER_KEY")
	return nil
}

// errNextUnused refuses what would rotate to another key than the operator wants.
var errNextUnused = errors.New("KONTO_NEXT_MASTER_KEY is set, but the master key of this data folder is kept in master.key, whose next one konto makes")

// errNextPresent refuses a rotation that would change nothing and claim to have.
var errNextPresent = errors.New("KONTO_NEXT_MASTER_KEY is the present master key")

// olderCopies is for operators who would find out when they need one.
const olderCopies = "copies of keys.db from before open with the old master key alone, which konto keeps nowhere: make a new one with konto keys backup"

// whatToSet is for operators whose master key konto cannot replace.
const whatToSet = "set KONTO_MASTER_KEY to the value of KONTO_NEXT_MASTER_KEY before the next start"

func (c *keysRotate) Run(ctx context.Context, h *opened, out *output) error {
	// A copy of the keys is tried with the master key of its time.
	h.backingUp.Lock()
	defer h.backingUp.Unlock()
	given := h.master.Given != ""
	switch {
	case !given && c.Next != "":
		return errNextUnused
	case given && c.Next == h.master.Given:
		return errNextPresent
	}
	master := keyring.Master{Path: h.master.Path, Given: h.master.Given, Next: c.Next}
	if err := master.Rotate(ctx, h.keys); err != nil {
		return err
	}
	n, err := h.keys.Count(ctx)
	if err != nil {
		return err
	}
	done := struct {
		Rotated uint64 `json:"rotated"`
		Notice  string `json:"notice"`
	}{n, olderCopies}
	if given {
		h.master.Given = c.Next
		done.Notice = whatToSet + "; " + olderCopies
	}
	return out.object(done)
}
