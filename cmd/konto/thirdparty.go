package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/control"
	"konto/cmd/konto/datafolder"
	"konto/cmd/konto/server"
	"konto/commands"
	"konto/events"
	"konto/eventstore"
)

// thirdPartyShown is a third party for the operator: everything but its secrets.
type thirdPartyShown struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	URL       string    `json:"url"`
	Format    string    `json:"format"`
	Events    []string  `json:"events"`
	State     string    `json:"state"`
	Reason    string    `json:"reason,omitzero"`
	PublicKey string    `json:"publicKey"`
	Previous  time.Time `json:"previousUntil,omitzero"` // when the last of its previous secrets ends
	Added     time.Time `json:"added"`
	// Begin and Checkpoint are positions in the log. The third party receives events after
	// Begin. All events up to Checkpoint are settled.
	Begin      uint64 `json:"begin"`
	Checkpoint uint64 `json:"checkpoint"`
	Version    uint64 `json:"version"`
}

func showThirdParty(p events.ThirdParty) thirdPartyShown {
	shown := thirdPartyShown{
		ID: p.ID.String(), Name: p.Name, URL: withoutQuery(p.URL), Format: p.Format, Events: p.Events,
		State: p.State, Reason: p.Reason, PublicKey: p.Secret.PublicKey(), Added: p.Added,
		Begin: p.Begin, Checkpoint: p.Checkpoint, Version: p.Version,
	}
	for _, previous := range p.Previous {
		if previous.Until.After(shown.Previous) && previous.Until.After(time.Now()) {
			shown.Previous = previous.Until
		}
	}
	return shown
}

// withoutQuery hides a URL's query, in which there may be a secret.
func withoutQuery(url string) string {
	if before, _, ok := strings.Cut(url, "?"); ok {
		return before + "?…"
	}
	return url
}

type thirdPartyAdd struct {
	Name   string   `arg:"" name:"name" help:"Its name: 1 to 64 of a-z, 0-9 and -."`
	URL    string   `name:"url" required:"" placeholder:"URL" help:"Where to post deliveries: https, or http for a network of --third-party-allow; - reads it from standard input, for one that holds a secret."`
	Format string   `name:"format" enum:"cloudevents,payway,payway-ssi,risc" default:"cloudevents" help:"cloudevents, payway, payway-ssi or risc."`
	Events []string `name:"event" placeholder:"TYPE" help:"A type of event to send, EmailChanged unless given; give it once for each. AccountErased is sent to all."`
}

func (c *thirdPartyAdd) Help() string {
	return `It receives events from now on. konto replay third-party sends it earlier ones. The secret is printed
once and cannot be shown again (rotate-secret makes another). Deliveries are signed as Standard
Webhooks defines it: v1 with the secret, v1a for the public key.

The formats payway and payway-ssi can express EmailChanged, ProfileUpdated, FactsRecorded and
AccountErased; payway also EmailChangeRequested; risc only EmailChanged and AccountErased;
cloudevents every event.

Examples:

    konto third-party add crm --url https://crm.example.com/hooks/konto
    konto third-party add newspaper --url https://news.example.com/konto --format payway --event EmailChanged --event ProfileUpdated
    konto third-party add login --url https://id.example.com/risc --format risc --json`
}

func (c *thirdPartyAdd) readInput(stdin io.Reader) (err error) {
	if c.URL == "-" {
		c.URL, err = readLine(stdin, "URL")
	}
	return err
}

func (c *thirdPartyAdd) Run(ctx context.Context, on *opened, out *control.Output) error {
	if c.Format == events.FormatRISC && on.server.HasNoURL() {
		return server.ErrNoIssuer
	}
	meta, err := datafolder.Operator()
	if err != nil {
		return err
	}
	added, err := on.ThirdParties.Add(ctx, meta, commands.AddThirdParty{Name: c.Name, URL: c.URL, Format: c.Format, Events: c.Events})
	if errors.Is(err, eventstore.ErrTaken) {
		return fmt.Errorf("there is a third party %s already", c.Name)
	}
	if err != nil {
		return err
	}
	// The secret is printed before anything that can fail, because nothing shows it again.
	if err := out.Object(struct {
		ID        string `json:"id"`
		Name      string `json:"name"`
		Secret    string `json:"secret"`
		PublicKey string `json:"publicKey"`
	}{added.ID.String(), c.Name, added.Secret, added.PublicKey}); err != nil {
		return err
	}
	return on.WaitFor(ctx, added.Position)
}

type thirdPartyList struct{}

func (c *thirdPartyList) Help() string {
	return `The part of a URL after ? may be a secret and is not shown.

Examples:

    konto third-party list
    konto third-party list --json | jq -r .name`
}

func (c *thirdPartyList) Run(ctx context.Context, on *opened, out *control.Output) error {
	if err := on.CatchUp(ctx); err != nil {
		return err
	}
	all, err := on.Model.ThirdParties(ctx)
	if err != nil {
		return err
	}
	for _, p := range all {
		state := strings.TrimSpace(p.State + " " + p.Reason)
		if err := out.Row(showThirdParty(p), "%s  %-18s  %-11s  %-20s  %s", p.ID, state, p.Format, p.Name, withoutQuery(p.URL)); err != nil {
			return err
		}
	}
	return nil
}

type thirdPartyShow struct {
	Ref     string `arg:"" name:"name" help:"The third party: its name or its id."`
	Account string `name:"account" placeholder:"REF" help:"Also show whether it has the last event of this account: any of its ids, or its email address."`
}

func (c *thirdPartyShow) Help() string {
	return `The part of its URL after ? may be a secret and is not shown.

Examples:

    konto third-party show crm
    konto third-party show crm --account anna@example.com --json | jq .account.inSync`
}

func (c *thirdPartyShow) Run(ctx context.Context, on *opened, out *control.Output) error {
	p, err := on.thirdParty(ctx, c.Ref)
	if err != nil {
		return err
	}
	if c.Account == "" {
		return out.Object(showThirdParty(p))
	}
	account, err := on.standing(ctx, p, c.Account)
	if err != nil {
		return err
	}
	return out.Object(struct {
		thirdPartyShown
		Account standing `json:"account"`
	}{showThirdParty(p), account})
}

// thirdParty finds the third party that a person means, by its name or its id.
func (on *opened) thirdParty(ctx context.Context, ref string) (events.ThirdParty, error) {
	if err := on.CatchUp(ctx); err != nil {
		return events.ThirdParty{}, err
	}
	p, ok, err := on.Model.ThirdParty(ctx, ref)
	if err == nil && !ok {
		err = fmt.Errorf("there is no third party %s", ref)
	}
	return p, err
}

type thirdPartyPause struct {
	Ref string `arg:"" name:"name" help:"The third party: its name or its id."`
}

func (c *thirdPartyPause) Help() string {
	return `Deliveries stop, and none is lost: konto third-party resume continues them where they stopped.

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
	return `Deliveries continue where they stopped, whether they were paused or konto disabled them.

Example:

    konto third-party resume crm`
}

func (c *thirdPartyResume) Run(ctx context.Context, on *opened, out *control.Output) error {
	return on.setThirdParty(ctx, out, c.Ref, events.ThirdPartyActive, on.ThirdParties.Resume)
}

type thirdPartyRemove struct {
	Ref string `arg:"" name:"name" help:"The third party: its name or its id."`
	// Waiting deliveries are never sent, and the position in the log is lost.
	Yes bool `name:"yes" required:"" help:"Required: events that wait are never delivered."`
}

func (c *thirdPartyRemove) Help() string {
	return `Deliveries end for good, and events that wait to be delivered never are. To pause deliveries instead,
use konto third-party pause. The name is free again.

Example:

    konto third-party remove crm --yes`
}

func (c *thirdPartyRemove) Run(ctx context.Context, on *opened, out *control.Output) error {
	return on.setThirdParty(ctx, out, c.Ref, events.ThirdPartyGone, on.ThirdParties.Remove)
}

// setThirdParty changes the state of a third party and prints it.
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
	Overlap lifetime `name:"overlap" default:"24h" placeholder:"DURATION" help:"How long the previous secret also signs, at most 720h; 0: it ends at once."`
}

func (c *thirdPartyRotateSecret) Help() string {
	return `The new secret is printed once. Until the overlap ends, deliveries have signatures of both secrets,
so the third party can change its secret at any time.

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

// thirdPartyChange changes a third party and returns the position of its event.
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
