package main

import (
	"context"
	"errors"
	"fmt"

	"konto/cmd/konto/control"
	"konto/cmd/konto/datafolder"
	"konto/projections"
)

type replayThirdParty struct {
	Ref  string `arg:"" name:"name" help:"The third party: its name or its id."`
	From uint64 `name:"from" required:"" placeholder:"P" help:"Position of the first event to deliver again."`
}

func (c *replayThirdParty) Help() string {
	return `Delivers to a third party again, in order, every event that it subscribed to, from a position on. With
--from 1 it delivers all of them. The events have the same ids as before. A third party that is
paused or disabled receives them when it is resumed.

Examples:

    konto replay third-party crm --from 1
    konto events list --type EmailChanged    # shows positions`
}

// Validate is called by kong.
func (c *replayThirdParty) Validate() error {
	if c.From == 0 {
		return errors.New("positions count from 1")
	}
	return nil
}

func (c *replayThirdParty) Run(ctx context.Context, on *opened, out *control.Output) error {
	meta, err := datafolder.Operator()
	if err != nil {
		return err
	}
	replayed, err := on.ReplayThirdParty(ctx, meta, c.Ref, c.From)
	if err != nil {
		return err
	}
	return out.Object(replayed)
}

type replayReadModel struct {
	DryRun bool `name:"dry-run" help:"Report what differs, and change nothing."`
}

func (c *replayReadModel) Help() string {
	return `Rebuilds the read model (read.db) from the log, beside the one in use, compares the two, and replaces
the old one with the new one. Requests are answered meanwhile. If the rebuild is interrupted, the old
read model stays in use. The disk needs space for a second read model.

The command prints what was wrong in the old one: rows that were missing, surplus or different, by
table, with the first of their ids. The new read model is right, so this is no failure. With
--dry-run the old one stays, and the exit status is 1 if anything is wrong in it.

Examples:

    konto replay read-model --dry-run
    konto replay read-model --json`
}

func (c *replayReadModel) Run(ctx context.Context, on *opened, out *control.Output) error {
	audit(on, "replay read-model")
	// A read model that only lags, for example after its file was deleted, is given time to
	// catch up. An error is ignored: this command repairs it.
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
		return fmt.Errorf("the read model differs from the log in %d rows; without --dry-run they are corrected", n)
	}
	if done.Exchanged && on.Follower.Status().State == projections.StateStopped {
		return errors.New("the read model was rebuilt, but it stopped following the log before that: restart konto")
	}
	return nil
}
