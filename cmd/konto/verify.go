package main

import (
	"context"
	"errors"
	"fmt"

	"konto/cmd/konto/control"
	"konto/projections/verify"
)

type verifyCommand struct {
	Quick bool `name:"quick" help:"Check only the end of the log and the state of its followers, within milliseconds, for a health probe."`
}

func (c *verifyCommand) Help() string {
	return `Checks the log and everything that follows from it, whether the server runs or not, and changes
nothing: files, hash chain, positions and versions; that every event can be read; that claims,
receipts and the read model follow from the events. If anything is wrong, verify names the first
position, and the exit status is 1.

Examples:

    konto verify
    konto verify --json | jq .problems
    konto verify --quick`
}

func (*verifyCommand) examines() {}

func (c *verifyCommand) Run(ctx context.Context, on *opened, out *control.Output) error {
	if c.Quick {
		report, err := verify.Quick(ctx, verify.QuickConfig{
			Log: on.Log, Model: on.Model, Followers: on.Server.Followers(), Files: on.PresentFiles(),
		})
		if err != nil {
			return err
		}
		return errors.Join(out.Object(report), damaged(report.Problems, len(report.Problems)))
	}
	report, err := verify.Run(ctx, verify.Config{
		Log: on.Log, Store: on.Store, Model: on.Model, Files: on.Files(), Progress: out.Progress,
	})
	if err != nil {
		return err
	}
	return errors.Join(out.Object(report), damaged(report.Problems, report.Found))
}

// damaged returns the error for the problems that were found. It names the first.
func damaged(problems []verify.Problem, found int) error {
	if found == 0 {
		return nil
	}
	first := problems[0]
	var where string
	if first.Position > 0 {
		where = fmt.Sprintf("position %d: ", first.Position)
	}
	if first.Stream != "" {
		where += string(first.Stream) + ": "
	}
	if found == 1 {
		return fmt.Errorf("%s%s", where, first.What)
	}
	return fmt.Errorf("%s%s; and %d more problems", where, first.What, found-1)
}
