package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"

	"konto/eventstore/sqlite"
	"konto/eventstore/sqlitefile"
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

// backedUp is what konto tells of a backup, and of one that was restored.
type backedUp struct {
	File     string `json:"file"`
	Position uint64 `json:"position"` // of the last event in it
	Events   uint64 `json:"events"`
	Chain    string `json:"chain"` // hash of the last event and all before it
	Bytes    int64  `json:"bytes"`
	Verified bool   `json:"verified"`
}

func (c *backupCommand) Run(ctx context.Context, h *opened, out *output) error {
	// One at a time: a second one to the same FILE would take the first's copy away.
	if !h.backingUp.TryLock() {
		return errors.New("another backup is being made; wait until it is done")
	}
	defer h.backingUp.Unlock()
	var b backedUp
	err := makeFile(c.File, func(partial string) (err error) {
		b, err = h.backUp(ctx, partial, out)
		return err
	})
	if err != nil {
		return fmt.Errorf("no backup was made: %w", err)
	}
	b.File = c.File
	return out.object(b)
}

// backUp copies the log and tries the copy.
func (h *house) backUp(ctx context.Context, to string, out *output) (backedUp, error) {
	acknowledged, err := h.store.Head(ctx)
	if err != nil {
		return backedUp{}, err
	}
	if err := h.log.Copy(ctx, to); err != nil {
		return backedUp{}, err
	}
	found, err := tryBackup(ctx, to, out)
	if err != nil {
		return backedUp{}, err
	}
	if found.Position < acknowledged {
		return backedUp{}, fmt.Errorf("the copy ends at position %d, the log went to %d before", found.Position, acknowledged)
	}
	live, err := h.log.Extent(ctx, found.Position)
	if err != nil {
		return backedUp{}, err
	}
	if live.Chain != found.Chain || !bytes.Equal(live.ID, found.ID) {
		return backedUp{}, fmt.Errorf("the copy differs from the log somewhere up to position %d", found.Position)
	}
	return described(to, found)
}

// tryBackup restores a backup to a folder beside it, and checks what comes of it.
// The backup itself is only read: SQLite would change even a good one.
func tryBackup(ctx context.Context, backup string, out *output) (found sqlite.Extent, err error) {
	err = sqlitefile.Try(ctx, backup, func(restored string) (err error) {
		found, err = sqlite.Inspect(ctx, restored, out.events)
		return err
	})
	return found, err
}

// events is progress with events.
func (o *output) events(done, total uint64) { o.progress(done, total, "events") }

func described(file string, e sqlite.Extent) (backedUp, error) {
	info, err := os.Stat(file)
	if err != nil {
		return backedUp{}, err
	}
	return backedUp{
		File: file, Position: e.Position, Events: e.Position, // which count from 1 without gaps
		Chain: hex.EncodeToString(e.Chain[:]), Bytes: info.Size(), Verified: true,
	}, nil
}
