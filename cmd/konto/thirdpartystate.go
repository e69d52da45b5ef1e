package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/control"
	"konto/cmd/konto/datafolder"
	"konto/commands"
	"konto/events"
)

type thirdPartyPause struct {
	Ref string `arg:"" name:"name" help:"The third party: its name or its id."`
}

func (c *thirdPartyPause) Help() string {
	return `Deliveries stop, and none is lost: they go on from where they stopped with konto third-party resume.

Example:

    konto third-party pause crm`
}

func (c *thirdPartyPause) Run(ctx context.Context, on *opened, out *control.Output) error {
	return on.setThirdParty(ctx, out, c.Ref, events.ThirdPartyHeld, on.ThirdParties.Pause)
}

type thirdPartyResume struct {
	Ref string `arg:"" name:"name" help:"The third party: its name or its id."`
}

func (c *thirdPartyResume) Help() string {
	return `Deliveries go on from where they stopped, whether they were paused or konto disabled them.

Example:

    konto third-party resume crm`
}

func (c *thirdPartyResume) Run(ctx context.Context, on *opened, out *control.Output) error {
	return on.setThirdParty(ctx, out, c.Ref, events.ThirdPartyActive, on.ThirdParties.Resume)
}

type thirdPartyRemove struct {
	Ref string `arg:"" name:"name" help:"The third party: its name or its id."`
	// Waiting deliveries are never sent, and the position in the log is lost.
	Yes bool `name:"yes" required:"" help:"Required: what was not delivered never will be."`
}

func (c *thirdPartyRemove) Help() string {
	return `Deliveries end for good, with what waits to be delivered; konto third-party pause only holds them back.
The name is free again.

Example:

    konto third-party remove crm --yes`
}

func (c *thirdPartyRemove) Run(ctx context.Context, on *opened, out *control.Output) error {
	return on.setThirdParty(ctx, out, c.Ref, events.ThirdPartyGone, on.ThirdParties.Remove)
}

// setThirdParty brings a third party to a state, and tells so.
func (on *opened) setThirdParty(ctx context.Context, out *control.Output, ref, state string, change thirdPartyChange) error {
	p, err := on.changeThirdParty(ctx, ref, change)
	if err != nil {
		return err
	}
	return out.Object(struct {
		ID    string `json:"id"`
		Name  string `json:"name"`
		State string `json:"state"`
	}{p.ID.String(), p.Name, state})
}

type thirdPartyRotateSecret struct {
	Ref     string   `arg:"" name:"name" help:"The third party: its name or its id."`
	Overlap lifetime `name:"overlap" default:"24h" placeholder:"DURATION" help:"How long the previous secret signs too, 24h unless given, at most 720h; 0: no longer."`
}

func (c *thirdPartyRotateSecret) Help() string {
	return `The new secret is printed once. Until the overlap ends deliveries carry the signatures of both, so the
third party can change over whenever it likes.

Examples:

    konto third-party rotate-secret crm
    konto third-party rotate-secret crm --overlap 0`
}

func (c *thirdPartyRotateSecret) Run(ctx context.Context, on *opened, out *control.Output) error {
	var rotated commands.RotatedSecret
	p, err := on.changeThirdParty(ctx, c.Ref, func(ctx context.Context, meta events.Metadata, id ulid.ULID) (_ uint64, err error) {
		rotated, err = on.ThirdParties.RotateSecret(ctx, meta, id, time.Duration(c.Overlap))
		return rotated.Position, err
	})
	if rotated.Secret == "" {
		return err
	}
	// The secret is printed even if something failed after the change, because nothing shows
	// it again.
	return errors.Join(err, out.Object(struct {
		ID            string    `json:"id"`
		Name          string    `json:"name"`
		Secret        string    `json:"secret"`
		PublicKey     string    `json:"publicKey"`
		PreviousUntil time.Time `json:"previousUntil"`
	}{p.ID.String(), p.Name, rotated.Secret, rotated.PublicKey, rotated.PreviousUntil}))
}

// thirdPartyChange returns the position of its event.
type thirdPartyChange func(context.Context, events.Metadata, ulid.ULID) (uint64, error)

// changeThirdParty returns the third party as it was before the change. It returns when the
// read model and the deliveries have the change.
func (on *opened) changeThirdParty(ctx context.Context, ref string, change thirdPartyChange) (events.ThirdParty, error) {
	p, err := on.thirdParty(ctx, ref)
	if err != nil {
		return p, err
	}
	meta, err := datafolder.Operator()
	if err != nil {
		return p, err
	}
	position, err := change(ctx, meta, p.ID)
	if errors.Is(err, commands.ErrNotFound) { // removed meanwhile
		return p, fmt.Errorf("there is no third party %s", ref)
	}
	if err != nil {
		return p, err
	}
	if err := on.WaitFor(ctx, position); err != nil || on.server == nil {
		return p, err
	}
	return p, on.server.Deliveries.WaitFor(ctx, position)
}
