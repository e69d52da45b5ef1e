package main

import (
	"context"
	"errors"
	"fmt"

	"konto/cmd/konto/control"
	"konto/projections/deliveries"
)

type replayThirdParty struct {
	Ref  string `arg:"" name:"name" help:"The third party: its name or its id."`
	From uint64 `name:"from" required:"" placeholder:"P" help:"Position of the first event to tell of again."`
}

func (c *replayThirdParty) Help() string {
	return `Tells a third party again of all that it wants and that happened at a position or after it, in order; with --from 1 of
everything there ever was. The events carry the ids that they always had. A third party that is paused or
disabled is told once it is resumed.

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
	party, err := on.thirdParty(ctx, c.Ref)
	if err != nil {
		return err
	}
	reading, err := on.reading(ctx, party)
	if err != nil {
		return err
	}
	if c.From > reading {
		return errNotThere(party.Name, reading, c.From)
	}
	rewind := on.DeliveryStore.Rewind
	if on.server != nil {
		rewind = on.server.Deliveries.Rewind
	}
	err = rewind(ctx, party.ID, c.From-1)
	if errors.Is(err, deliveries.ErrNotReached) {
		return errNotThere(party.Name, reading, c.From)
	}
	if err != nil {
		return err
	}
	return out.Object(struct {
		ID   string `json:"id"`
		Name string `json:"name"`
		From uint64 `json:"from"`
	}{party.ID.String(), party.Name, c.From})
}

func errNotThere(name string, reading, from uint64) error {
	return fmt.Errorf("%s has been told of what happened up to position %d: nothing from %d on can be told again", name, reading, from)
}
