package main

import (
	"context"
	"errors"
	"io"
	"os"

	"konto/cmd/konto/control"
	"konto/cmd/konto/copies"
	"konto/cmd/konto/datafolder"
	"konto/eventstore/transfer"
)

type exportCommand struct {
	File      string `arg:"" name:"file" type:"path" help:"File to make; one that exists is not overwritten. - is standard output."`
	Encrypted bool   `name:"encrypted" help:"Leave events encrypted; the import then needs this keys.db."`
}

func (c *exportCommand) Help() string {
	return `Writes the log as NDJSON, one event a line. Without --encrypted the file is in clear and holds every
secret of konto: personal data, hashes of passwords, secrets that third parties share. It still holds
accounts that are erased later. Keep it as you keep keys.db, and delete it after the import. An
export that is killed leaves FILE.partial, which the next export to FILE deletes.

Examples:

    konto export /move/konto.ndjson
    konto export - | ssh other konto import - --data /var/lib/konto
    konto export /backup/konto.ndjson --encrypted`
}

// errTerminal refuses an export to a terminal. The lines of an export are not escaped, so a
// terminal would obey control characters in them.
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
	File string `arg:"" name:"file" type:"path" help:"A file that konto export made. - is standard input."`

	stdin io.Reader
}

func (c *importCommand) Help() string {
	return `Makes a log from an export, in a folder that has none. All of it is imported, or nothing.

An export in clear gets new keys: the folder must be empty, except for master.key and
erasures.ndjson. Positions, versions, ids and times stay, and so do API keys, passwords and sessions.
konto gets new keys of its own: access tokens, pending codes for email changes and signatures of
proofs from before the import are no longer valid. An encrypted export is the same log again, and
needs its keys.db, with its master key, in the folder.

Examples:

    konto import /move/konto.ndjson --data /var/lib/konto
    konto export - --data old | konto import - --data new`
}

func (c *importCommand) readInput(stdin io.Reader) error {
	c.stdin = stdin
	return nil
}

// imported describes an import.
type imported struct {
	File      string `json:"file"`
	Events    uint64 `json:"events"`
	Encrypted bool   `json:"encrypted"`
	Verified  bool   `json:"verified"`
}

func (c *importCommand) run(ctx context.Context, l *line, stdout, stderr io.Writer) error {
	done := imported{File: c.File, Verified: true}
	what := "imported from " + c.File
	if c.File == "-" {
		what = "imported from standard input"
	}
	return replacing{l, stdout, stderr, what, true}.run(ctx, &done, func(out *control.Output) error {
		from, err := openInput(c.File, c.stdin)
		if err != nil {
			return err
		}
		defer from.Close()
		r, err := transfer.NewReader(from)
		if err != nil {
			return err
		}
		done.Encrypted = r.Header().Encrypted
		if err := datafolder.Make(l.folder()); err != nil {
			return err
		}
		return datafolder.WhileLocked(l.folder(), "konto "+l.path, func() error {
			err := copies.Import(ctx, l.folder(), r, out.Events)
			done.Events = r.Events()
			return err
		})
	})
}

// openInput opens the file that a command reads, or its standard input if the file is "-".
func openInput(file string, stdin io.Reader) (io.ReadCloser, error) {
	if file == "-" {
		return io.NopCloser(stdin), nil
	}
	return os.Open(file)
}
