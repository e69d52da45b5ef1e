package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/sqlite"
	"konto/eventstore/transfer"
)

type importCommand struct {
	File string `arg:"" name:"file" type:"path" help:"What konto export made. - is standard input."`

	stdin io.Reader
}

func (c *importCommand) Help() string {
	return `Makes a log of an export, in a folder that has none. All of it is imported, or nothing.

One in clear gets new keys: the folder must be empty, but for master.key and erasures.ndjson. Positions, versions, ids and
times stay, and so do API keys, passwords and sessions. What konto signs with keys of its own gets others: access
tokens, pending codes for email changes and signatures of proofs from before the move are no longer good. An encrypted one is the
same log again and needs its keys.db, with its master key, in the folder.

Examples:

    konto import /move/konto.ndjson --data /var/lib/konto
    konto export - --data old | konto import - --data new`
}

func (c *importCommand) readInput(stdin io.Reader) error {
	c.stdin = stdin
	return nil
}

// imported is what konto tells of an import.
type imported struct {
	File      string `json:"file"`
	Events    uint64 `json:"events"`
	Encrypted bool   `json:"encrypted"`
	Verified  bool   `json:"verified"`
}

func (c *importCommand) run(ctx context.Context, l *line, stdout, stderr io.Writer) error {
	m := newMeter(stderr)
	defer m.clear()
	out := newMeteredOutput(stdout, l.json, m)
	done := imported{File: c.File}
	begun := !holdsKonto(l.folder())
	if begun && l.data == "" {
		return fmt.Errorf("nothing was imported: there is no konto in %s; to begin one there, name it: --data %s", l.folder(), l.folder())
	}
	err := c.read(func(r *transfer.Reader) error {
		done.Encrypted, done.Events = r.Header().Encrypted, r.Header().Head
		if err := makeFolder(l.folder()); err != nil {
			return err
		}
		return alone(l, func(folder string) error { return importInto(ctx, folder, r, out) })
	})
	if err != nil {
		from := c.File
		if from == "-" {
			from = "standard input"
		}
		return fmt.Errorf("nothing was imported from %s: %w", from, err)
	}
	if begun {
		tellBegun(stderr, l.folder())
	}
	if err := comeBack(ctx, l, out, stderr); err != nil {
		return fmt.Errorf("the log is in its place, but: %w", err)
	}
	done.Verified = true
	return errors.Join(out.object(done), out.flush())
}

// read opens the file.
func (c *importCommand) read(do func(r *transfer.Reader) error) error {
	from, err := openInput(c.File, c.stdin)
	if err != nil {
		return err
	}
	defer from.Close()
	r, err := transfer.NewReader(from)
	if err != nil {
		return err
	}
	return do(r)
}

// importInto makes the log of a locked folder, beside it at first.
func importInto(ctx context.Context, folder string, from *transfer.Reader, out *output) error {
	if err := checkPlace(folder, from.Header().Encrypted); err != nil {
		return err
	}
	madeMaster := missing(filepath.Join(folder, "master.key"))
	staged, err := stageIncoming(folder)
	if err != nil {
		return err
	}
	if err := stageImport(ctx, folder, staged, from, out); err != nil {
		if madeMaster {
			err = errors.Join(err, os.RemoveAll(filepath.Join(folder, "master.key")))
		}
		return errors.Join(err, os.RemoveAll(staged))
	}
	_, err = commitIncoming(folder, time.Now())
	return err
}

// checkPlace refuses a folder in which something would be replaced.
func checkPlace(folder string, encrypted bool) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	has := func(name string) bool {
		return slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == name })
	}
	if encrypted {
		if has("log.db") {
			return fmt.Errorf("there is a log in %s already", folder)
		}
		if !has("keys.db") {
			return fmt.Errorf("the export is encrypted: put the keys.db of its log, with its master key, into %s", folder)
		}
		return nil
	}
	if has("log.db") || has("keys.db") {
		return fmt.Errorf("there is a log in %s already, or its keys", folder)
	}
	for _, e := range entries {
		switch e.Name() {
		case "master.key", erasuresName, holderName, "lost+found":
		default:
			return fmt.Errorf("%s is not empty: %s is in it", folder, e.Name())
		}
	}
	return nil
}

// stageImport fills the staged log, checks it, and closes it.
func stageImport(ctx context.Context, folder, staged string, from *transfer.Reader, out *output) (err error) {
	place := staged // where keys.db is
	if from.Header().Encrypted {
		place = folder
	}
	master := masterOf(folder)
	if _, err := master.Load(!from.Header().Encrypted); err != nil {
		return err
	}
	keys, err := master.Open(ctx, filepath.Join(place, "keys.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keys.Close()) }()
	path := filepath.Join(staged, "log.db")
	end, err := fillLog(ctx, path, keys, from, out)
	if err != nil {
		return err
	}
	found, err := sqlite.Inspect(ctx, path, out.events)
	if err != nil {
		return err
	}
	if found.Position != end.Events || from.Header().Encrypted && end.Events > 0 && !bytes.Equal(found.Chain[:], end.Chain) {
		return transfer.ErrOtherLog
	}
	return nil
}

func fillLog(ctx context.Context, path string, keys *keyring.Keyring, from *transfer.Reader, out *output) (end transfer.End, err error) {
	log, err := sqlite.Open(ctx, path)
	if err != nil {
		return end, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	if from.Header().Encrypted {
		if err := log.Adopt(ctx, from.Header().Log); err != nil {
			return end, err
		}
	}
	id, err := log.ID(ctx)
	if err != nil {
		return end, err
	}
	if err := keys.Bind(ctx, id, !from.Header().Encrypted); err != nil {
		return end, err
	}
	return transfer.Import(ctx, from, transfer.Target{
		Log: log, Store: eventstore.NewStore(log, keys), Keys: keys, Tell: out.events,
	})
}

// openInput opens what a command reads: a file, or with - its standard input.
func openInput(file string, stdin io.Reader) (io.ReadCloser, error) {
	if file == "-" {
		return io.NopCloser(stdin), nil
	}
	return os.Open(file)
}
