package main

import (
	"context"
	"encoding/hex"
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
	audit(on, "export")
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
	File     string `arg:"" name:"file" type:"path" help:"A file that konto export made. - is standard input."`
	Keys     string `name:"keys" type:"path" placeholder:"FILE" help:"With --store: the keys.db of an encrypted export, whose keys are copied."`
	Erasures string `name:"erasures" type:"path" placeholder:"FILE" help:"With --store: the list of erasures that belongs to the export; erasures.ndjson beside --keys, if it is there, unless given."`

	stdin io.Reader
}

func (c *importCommand) Help() string {
	return `Makes a log from an export, in a folder that has none. All of it is imported, or nothing.

An export in clear gets new keys: the folder must be empty, except for master.key and
erasures.ndjson. Positions, versions, ids and times stay, and so do API keys, passwords and sessions.
konto gets new keys of its own: access tokens, pending codes for email changes and signatures of
proofs from before the import are no longer valid. An encrypted export is the same log again, and
needs its keys.db, with its master key, in the folder.

With --store the log in Postgres must be empty, and no node may run. The keys of an encrypted export
are copied from --keys, which stays as it is; its master key is KONTO_MASTER_KEY, or master.key beside
it. In Postgres the keys are wrapped by KONTO_MASTER_KEY. The list of erasures comes along. If the
import is interrupted, no node opens the log: repeat the import. Compare events and chain with what
konto export printed.

Examples:

    konto import /move/konto.ndjson --data /var/lib/konto
    konto export - --data old | konto import - --data new
    konto import /move/konto.ndjson --store postgres://konto@pg1,pg2/konto --keys /var/lib/konto/keys.db`
}

func (c *importCommand) readInput(stdin io.Reader) error {
	c.stdin = stdin
	return nil
}

// imported describes an import.
type imported struct {
	File      string `json:"file"`
	Events    uint64 `json:"events"`
	Chain     string `json:"chain,omitzero"` // as Exported has it
	Encrypted bool   `json:"encrypted"`
	Verified  bool   `json:"verified"`
	// Keys and Erasures are how many keys, and lines of the list of erasures, were copied to Postgres.
	Keys     uint64 `json:"keys,omitzero"`
	Erasures int    `json:"erasures,omitzero"`
	Notice   string `json:"notice,omitzero"`
}

// noLedger is the notice for keys that came without the list of erasures.
const noLedger = "there was no erasures.ndjson beside the keys: if accounts were erased after this copy of the keys was made, they can be read again"

func (c *importCommand) run(ctx context.Context, l *line, stdout, stderr io.Writer) error {
	switch {
	case l.postgres.Shared():
		return c.runShared(ctx, l, stdout, stderr)
	case c.Keys != "" || c.Erasures != "":
		return errors.New("--keys and --erasures go with --store; without it put the files into the data folder")
	}
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
			end, err := copies.Import(ctx, l.folder(), r, out.Events)
			done.Events, done.Chain = end.Events, hex.EncodeToString(end.Chain)
			return err
		})
	})
}

// runShared imports into Postgres. The data folder has the master key, if KONTO_MASTER_KEY does not
// give it, and nothing else.
func (c *importCommand) runShared(ctx context.Context, l *line, stdout, stderr io.Writer) error {
	m := control.NewMeter(stderr)
	defer m.Clear()
	out := control.NewMeteredOutput(stdout, l.json, m)
	from, err := openInput(c.File, c.stdin)
	if err != nil {
		return fmt.Errorf("nothing was imported: %w", err)
	}
	defer from.Close()
	r, err := transfer.NewReader(from)
	if err != nil {
		return fmt.Errorf("nothing was imported: %w", err)
	}
	moved, err := copies.SharedImport{
		To: l.postgres, Master: datafolder.MasterOf(l.folder()), From: r, Keys: c.Keys, Erasures: c.Erasures,
		Holder: "konto import", Progress: out.Events,
	}.Run(ctx)
	if err != nil {
		return fmt.Errorf("the import has not ended: %w", err)
	}
	done := imported{
		File: c.File, Events: moved.End.Events, Chain: hex.EncodeToString(moved.End.Chain), Encrypted: r.Header().Encrypted,
		Verified: true, Keys: moved.Keys, Erasures: moved.Erasures,
	}
	if moved.NoLedger {
		done.Notice = noLedger
	}
	return errors.Join(out.Object(done), out.Flush())
}

// openInput opens the file that a command reads, or its standard input if the file is "-".
func openInput(file string, stdin io.Reader) (io.ReadCloser, error) {
	if file == "-" {
		return io.NopCloser(stdin), nil
	}
	return os.Open(file)
}
