package main

import (
	"context"
	"errors"
	"fmt"

	"konto/cmd/konto/control"
	"konto/projections"
)

type replayReadModel struct {
	DryRun bool `name:"dry-run" help:"Report what differs, and change nothing."`
}

func (c *replayReadModel) Help() string {
	return `Makes the read model (read.db) once more from the log, beside the one in use, compares the two, and puts the new one in the
other's place. Requests are answered throughout. Whatever ends it early leaves the old one in use. It needs
room on the disk for a second read model.

It prints what the old one had wrong: rows that were missing, surplus or different, by table, with the first of
their ids. They are right once the new one is in use, so that is no failure. With --dry-run they stay, and the
exit status is 1 when there are any.

Examples:

    konto replay read-model --dry-run
    konto replay read-model --json`
}

func (c *replayReadModel) Run(ctx context.Context, on *opened, out *control.Output) error {
	// A read model that only lags, for example after its file was deleted, gets the time to
	// catch up. A read model in trouble is what this command is for.
	if err := on.CatchUp(ctx); ctx.Err() != nil {
		return err
	}
	done, err := on.Model.Rebuild(ctx, projections.RebuildConfig{DryRun: c.DryRun, Progress: out.Progress})
	if err != nil {
		return err
	}
	if err := out.Object(done); err != nil {
		return err
	}
	if n := done.Different(); n > 0 && c.DryRun {
		return fmt.Errorf("the read model differs from the log in %d rows; without --dry-run they are mended", n)
	}
	if done.Exchanged && on.Follower.Status().State == projections.StateStopped {
		return errors.New("the read model was rebuilt, but konto had given up following the log before: restart it")
	}
	return nil
}
