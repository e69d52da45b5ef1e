package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"konto/cmd/konto/control"
	"konto/cmd/konto/copies"
	"konto/cmd/konto/datafolder"
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

// errTerminal refuses an export to a terminal. The lines of an export are printed to the byte,
// unescaped, and a terminal would obey what is in them.
var errTerminal = errors.New("standard output is a terminal; name a file, or send it to a program")

func (c *exportCommand) Run(ctx context.Context, on *opened, out *control.Output) error {
	if c.File == "-" {
		_, err := copies.ExportStream(ctx, on.Folder, out.Text, c.Encrypted, out.Events)
		return err
	}
	done, err := copies.Export(ctx, on.Folder, c.File, c.Encrypted, out.Events)
	if err != nil {
		return err
	}
	return out.Object(done)
}

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
	m := control.NewMeter(stderr)
	defer m.Clear()
	out := control.NewMeteredOutput(stdout, l.json, m)
	done := imported{File: c.File}
	begun := !datafolder.HoldsKonto(l.folder())
	if begun && l.data == "" {
		return fmt.Errorf("nothing was imported: there is no konto in %s; to begin one there, name it: --data %s", l.folder(), l.folder())
	}
	err := c.read(func(r *transfer.Reader) error {
		done.Encrypted, done.Events = r.Header().Encrypted, r.Header().Head
		if err := datafolder.Make(l.folder()); err != nil {
			return err
		}
		return datafolder.WhileLocked(l.folder(), "konto "+l.path, func() error { return copies.Import(ctx, l.folder(), r, out.Events) })
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
	if err := reopen(ctx, l, out, stderr); err != nil {
		return fmt.Errorf("the log is in its place, but: %w", err)
	}
	done.Verified = true
	return errors.Join(out.Object(done), out.Flush())
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

// openInput opens what a command reads: a file, or with - its standard input.
func openInput(file string, stdin io.Reader) (io.ReadCloser, error) {
	if file == "-" {
		return io.NopCloser(stdin), nil
	}
	return os.Open(file)
}
