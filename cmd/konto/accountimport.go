package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"konto/cmd/konto/control"
	"konto/commands"
	"konto/events"
)

const (
	// importTogether is how many accounts are opened at the same time, so that
	// they share the commits of the keyring and the log.
	importTogether = 64
	// maxImport bounds the file, which is in memory, on its way to a server too.
	maxImport = 64 << 20
)

type accountImport struct {
	File     string `arg:"" name:"file" help:"The file, - for standard input."`
	Rejected string `name:"rejected" placeholder:"FILE" help:"Write rejected lines to this file, instead of telling of them on standard error."`
	Lines    []byte `kong:"-"` // what the file holds
}

func (c *accountImport) Help() string {
	return `Each line is a JSON object: email, and as far as known paywayId, administrator, passwordHash (argon2id, PHC string
format), facts (as on konto.inbound.facts) and the members of an account's profile as account show --json prints
them. What is missing stays missing. Each line is imported as a whole or rejected, with everything that is wrong with it. An
account that exists is a rejected line: to import a file twice opens no account twice.

The file of --rejected has a line for each: its number, the reasons, and the line itself as input, personal data included. To
correct them and try again: jq -r .input rejected.ndjson > again.ndjson

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

// importReport is a line of what Run prints, which run tells its caller: of one
// rejected line, or at the end of all.
type importReport struct {
	Line     int                   `json:"line,omitzero"` // counts from 1
	Reasons  []commands.FieldError `json:"reasons,omitzero"`
	Imported *int                  `json:"imported,omitzero"`
	Rejected int                   `json:"rejected,omitzero"`
}

// Run prints importReports, for people too: run puts them into words.
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
	held               map[events.Claim]bool // what the batch's accounts will hold
}

// importedLine is what becomes of a line.
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
			all.Go(func() { a.reasons, a.err = i.on.importOne(ctx, a.open) })
		}
	}
	all.Wait()
	var failed error
	for _, a := range i.batch {
		switch {
		case a.err != nil && failed == nil:
			failed = fmt.Errorf("stopped at line %d; what became of it and of the lines just after it is not known, so import the file again: %w", a.number, a.err)
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

// importOne opens an account. Its error tells nothing of the line.
func (on *opened) importOne(ctx context.Context, open commands.Open) ([]commands.FieldError, error) {
	_, err := on.open(ctx, open)
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

// claimsOf is what an account will hold, as far as its line tells.
func claimsOf(o commands.Open) []events.Claim {
	a := events.Account{Email: o.Email, PaywayID: o.PaywayID}
	a.Profile.CustomerNumber = o.Profile.CustomerNumber.To
	claims := a.Claims()
	if ssn := o.Profile.SocialSecurityNumber.To; ssn != "" {
		claims = append(claims, commands.SocialSecurityNumberClaim(ssn, time.Now()))
	}
	return claims
}
