package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"konto/cmd/konto/control"
	"konto/cmd/konto/datafolder"
	"konto/commands"
	"konto/events"
)

const (
	// importTogether is how many accounts are opened at the same time, so that
	// they share the commits of the keyring and the log.
	importTogether = 64
	// maxImport bounds the file, in bytes. It is in memory, here and in the server.
	maxImport = 64 << 20
)

type accountImport struct {
	File     string `arg:"" name:"file" help:"The file, - for standard input."`
	Rejected string `name:"rejected" placeholder:"FILE" help:"Write rejected lines to this file, not to standard error."`
	Lines    []byte `kong:"-"` // what the file holds
}

func (c *accountImport) Help() string {
	return `Each line is a JSON object: email, and, as far as known, paywayId, administrator, passwordHash
(argon2id, PHC string format), facts (as on konto.inbound.facts), and the members of an account's
profile as account show --json prints them. What is missing stays missing. Each line is imported as a
whole, or rejected with everything that is wrong with it. The line of an account that exists is
rejected, so no account is opened twice if a file is imported twice.

The file of --rejected has a line for each rejected line: its number, the reasons, and the line itself
as input, personal data included. To correct them and try again: jq -r .input rejected.ndjson >
again.ndjson

Examples:

    konto account import accounts.ndjson
    konto account import accounts.ndjson --rejected rejected.ndjson
    gunzip -c accounts.ndjson.gz | konto account import - --json`
}

// readInput reads the file where the command was given.
func (c *accountImport) readInput(stdin io.Reader) (err error) {
	from, err := openInput(c.File, stdin)
	if err != nil {
		return err
	}
	defer from.Close()
	c.Lines, err = io.ReadAll(io.LimitReader(from, maxImport+1))
	if err == nil && len(c.Lines) > maxImport {
		err = fmt.Errorf("the file is larger than %d MiB; split it", maxImport>>20)
	}
	return err
}

// importReport is a line that Run prints and run shows to the user: about one rejected line, or,
// at the end, about all lines.
type importReport struct {
	Line     int                   `json:"line,omitzero"` // counts from 1
	Reasons  []commands.FieldError `json:"reasons,omitzero"`
	Imported *int                  `json:"imported,omitzero"`
	Rejected int                   `json:"rejected,omitzero"`
}

// Run prints importReports, also without --json: run makes them readable.
func (c *accountImport) Run(ctx context.Context, on *opened, out *control.Output) error {
	i := importing{on: on, out: out, total: uint64(bytes.Count(c.Lines, []byte("\n"))), held: map[events.Claim]bool{}}
	err := i.all(ctx, c.Lines)
	if printed := i.print(importReport{Imported: &i.imported, Rejected: i.rejected}); err == nil {
		err = printed
	}
	if err == nil && i.rejected > 0 {
		err = fmt.Errorf("%d of %d lines were rejected", i.rejected, i.imported+i.rejected)
	}
	return err
}

// importing is the state of a running import.
type importing struct {
	on                 *opened
	out                *control.Output
	total              uint64
	imported, rejected int
	batch              []*importedLine
	held               map[events.Claim]bool // the claims of the batch's accounts
}

// importedLine is a line and the result of its import.
type importedLine struct {
	number  int
	open    commands.Open
	reasons []commands.FieldError
	err     error
}

func (i *importing) all(ctx context.Context, lines []byte) error {
	number := 0
	for line := range bytes.Lines(bytes.TrimPrefix(lines, []byte("\xef\xbb\xbf"))) {
		number++
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		next := &importedLine{number: number}
		next.open, next.reasons = readAccount(line)
		claims := claimsOf(next.open)
		// Of two lines with one address the first is imported, so the batch is opened before
		// the second is tried.
		clash := slices.ContainsFunc(claims, func(c events.Claim) bool { return i.held[c] })
		if clash || len(i.batch) == importTogether {
			if err := i.openBatch(ctx); err != nil {
				return err
			}
		}
		i.batch = append(i.batch, next)
		for _, c := range claims {
			i.held[c] = true
		}
	}
	return i.openBatch(ctx)
}

// openBatch opens the batch's accounts and reports the results.
func (i *importing) openBatch(ctx context.Context) error {
	var all sync.WaitGroup
	for _, a := range i.batch {
		if a.reasons == nil {
			all.Go(func() { a.reasons, a.err = importOne(ctx, i.on, a.open) })
		}
	}
	all.Wait()
	var failed error
	for _, a := range i.batch {
		switch {
		case a.err != nil && failed == nil:
			failed = fmt.Errorf("stopped at line %d; it and the lines just after it may be imported or not, so import the file again: %w", a.number, a.err)
		case a.err != nil:
		case a.reasons == nil:
			i.imported++
		default:
			i.rejected++
			if err := i.print(importReport{Line: a.number, Reasons: a.reasons}); err != nil {
				return err
			}
		}
		i.out.Progress(uint64(a.number), i.total, "lines")
	}
	i.batch = i.batch[:0]
	clear(i.held)
	return failed
}

func (i *importing) print(r importReport) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return i.out.Line("%s", text)
}

// importOne opens an account. Its error holds nothing of the line.
func importOne(ctx context.Context, on *opened, open commands.Open) ([]commands.FieldError, error) {
	meta, err := datafolder.Operator()
	if err != nil {
		return nil, err
	}
	_, err = on.OpenAccount(ctx, meta, open)
	var invalid *commands.Invalid
	var taken *commands.Taken
	switch {
	case errors.As(err, &invalid):
		return invalid.Fields, nil
	case errors.As(err, &taken):
		return []commands.FieldError{{Field: taken.Field, Code: commands.CodeTaken, Detail: "The value is already in use by another account."}}, nil
	}
	return nil, err
}

// claimsOf returns the claims of the account that a line opens.
func claimsOf(o commands.Open) []events.Claim {
	a := events.Account{Email: o.Email, PaywayID: o.PaywayID}
	a.Profile.CustomerNumber = o.Profile.CustomerNumber.To
	claims := a.Claims()
	if ssn := o.Profile.SocialSecurityNumber.To; ssn != "" {
		claims = append(claims, commands.SocialSecurityNumberClaim(ssn, time.Now()))
	}
	return claims
}

// run lets the process that holds the folder import the lines, and reports in this process:
// the files that the caller names belong to the caller.
func (c *accountImport) run(ctx context.Context, l *line, stdout, stderr io.Writer) (err error) {
	reports := &importReports{lines: bytes.Split(c.Lines, []byte("\n")), summary: control.NewOutput(stdout, l.json), stderr: stderr}
	if c.Rejected != "" {
		f, err := c.createRejected()
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		reports.file = f
	}
	m := control.NewMeter(stderr)
	defer m.Clear()
	reports.clear = m.Clear
	err = administer(ctx, l, control.NewMeteredOutput(reports, l.json, m), stderr)
	return errors.Join(err, reports.summary.Flush())
}

// createRejected makes the file before anything is imported, so that nothing is imported if
// rejected lines cannot be written.
func (c *accountImport) createRejected() (*os.File, error) {
	read, _ := os.Stat(c.File) // no such file if it is standard input
	if write, err := os.Stat(c.Rejected); err == nil && os.SameFile(read, write) {
		return nil, errors.New("the file of --rejected is the one to be imported")
	}
	f, err := os.OpenFile(c.Rejected, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	// A file that existed keeps its mode, and rejected lines are personal data.
	if err := f.Chmod(0o600); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// importReports receives the reports that Run prints.
type importReports struct {
	lines   [][]byte // of the import
	begun   []byte   // the beginning of a report
	clear   func()   // clears the progress bar
	stderr  io.Writer
	file    io.Writer // nil unless --rejected names one
	summary *control.Output
}

// Write implements io.Writer. A report may come in several parts.
func (t *importReports) Write(p []byte) (int, error) {
	t.begun = append(t.begun, p...)
	for {
		text, rest, complete := bytes.Cut(t.begun, []byte("\n"))
		if !complete {
			return len(p), nil
		}
		t.begun = rest
		var r importReport
		if err := json.Unmarshal(text, &r, json.RejectUnknownMembers(true)); err != nil {
			return 0, fmt.Errorf("the server's report is malformed: %w", err)
		}
		if err := t.show(r); err != nil {
			return 0, err
		}
	}
}

func (t *importReports) show(r importReport) error {
	switch {
	case r.Imported != nil:
		return t.summary.Object(struct {
			Imported int `json:"imported"`
			Rejected int `json:"rejected"`
		}{*r.Imported, r.Rejected})
	case t.file != nil:
		return t.writeRejected(r)
	}
	var wrong []string
	for _, f := range r.Reasons {
		text := strings.TrimSuffix(f.Detail, ".")
		if f.Field != "" {
			text = control.FieldName(f.Field) + ": " + text
		}
		wrong = append(wrong, text)
	}
	t.clear()
	_, err := fmt.Fprintf(t.stderr, "line %d: %s\n", r.Line, strings.Join(wrong, "; "))
	return err
}

// writeRejected writes a rejected line to the file.
func (t *importReports) writeRejected(r importReport) error {
	text, err := json.Marshal(struct {
		Line    int    `json:"line"`
		Reasons any    `json:"reasons"`
		Input   string `json:"input"`
	}{r.Line, r.Reasons, strings.ToValidUTF8(string(bytes.TrimRight(t.lines[r.Line-1], "\r")), "\uFFFD")})
	if err != nil {
		return err
	}
	_, err = t.file.Write(append(text, '\n'))
	return err
}
