package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"konto/eventstore/transfer"
)

type exportCommand struct {
	File      string `arg:"" name:"file" type:"path" help:"File to make; one that exists is not overwritten. - is standard output."`
	Encrypted bool   `name:"encrypted" help:"Leave events as they are stored; whoever imports them needs this keys.db."`
}

func (c *exportCommand) Help() string {
	return `Writes the log as NDJSON, one event a line. Without --encrypted it is in clear and holds every secret that konto has:
personal data, hashes of passwords, secrets that third parties share. It forgets nobody who is erased later. Keep it
as you keep keys.db, and delete it when it was imported; one that was killed leaves FILE.partial, until the next to FILE.

Examples:

    konto export /move/konto.ndjson
    konto export - | ssh other konto import - --data /var/lib/konto
    konto export /backup/konto.ndjson --encrypted`
}

// errTerminal refuses an export that nobody reads: its lines are to be stored to the
// byte, so they are printed as they are, whatever a terminal makes of them.
var errTerminal = errors.New("standard output is a terminal; name a file, or send it to a program")

// exported is what konto tells of an export.
type exported struct {
	File      string `json:"file"`
	Events    uint64 `json:"events"`
	Bytes     int64  `json:"bytes"`
	Encrypted bool   `json:"encrypted"`
	Warning   string `json:"warning,omitzero"`
}

const clearWarning = "in clear: it holds personal data, password hashes and third parties' secrets; delete it when it was imported"

func (c *exportCommand) Run(ctx context.Context, h *opened, out *output) error {
	if c.File == "-" {
		_, err := h.export(ctx, out.to, c.Encrypted, out)
		return err
	}
	if !h.backingUp.TryLock() {
		return errors.New("another backup is being made; wait until it is done")
	}
	defer h.backingUp.Unlock()
	done := exported{File: c.File, Encrypted: c.Encrypted}
	if !c.Encrypted {
		done.Warning = clearWarning
	}
	err := makeFile(c.File, func(partial string) (err error) {
		done.Events, done.Bytes, err = h.exportTo(ctx, partial, c.Encrypted, out)
		return err
	})
	if err != nil {
		return fmt.Errorf("no export was made: %w", err)
	}
	return out.object(done)
}

// exportTo writes a file, and reads it again.
func (h *house) exportTo(ctx context.Context, path string, encrypted bool, out *output) (events uint64, bytes int64, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := h.export(ctx, f, encrypted, out); err != nil {
		return 0, 0, err
	}
	if bytes, err = f.Seek(0, io.SeekCurrent); err != nil {
		return 0, 0, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, 0, err
	}
	r, err := transfer.NewReader(f)
	if err != nil {
		return 0, 0, err
	}
	end, err := r.Check(ctx)
	return end.Events, bytes, err
}

func (h *house) export(ctx context.Context, to io.Writer, encrypted bool, out *output) (transfer.End, error) {
	id, err := h.log.ID(ctx)
	if err != nil {
		return transfer.End{}, err
	}
	cfg := transfer.Config{Log: h.log, ID: id, Starts: time.Now(), Tell: out.events}
	if !encrypted {
		cfg.Clear = h.store
	}
	return transfer.Export(ctx, to, cfg)
}
