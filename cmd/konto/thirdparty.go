package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

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
	// Begin and Checkpoint are positions in the log. The third party is told of events after
	// Begin; all events up to Checkpoint are settled.
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
	Name   string   `arg:"" name:"name" help:"What to call it: 1 to 64 of a-z, 0-9 and -."`
	URL    string   `name:"url" required:"" placeholder:"URL" help:"Where to post deliveries: https, or http for a network of --third-party-allow; - reads it from standard input, for one that holds a secret."`
	Format string   `name:"format" enum:"cloudevents,payway,payway-ssi,risc" default:"cloudevents" help:"cloudevents, payway, payway-ssi or risc; cloudevents unless given."`
	Events []string `name:"event" placeholder:"TYPE" help:"A type of event to tell of, EmailChanged unless given; give it once for each. Erasures are told to all."`
}

func (c *thirdPartyAdd) Help() string {
	return `It is told of what happens from now on; konto replay third-party tells it of what was before.
The secret is printed once and cannot be shown again (rotate-secret makes another). Deliveries
are signed as Standard Webhooks has it: v1 with the secret, v1a for the public key.

payway and payway-ssi can tell of EmailChanged, ProfileUpdated, FactsRecorded and AccountErased,
payway of EmailChangeRequested too; risc of EmailChanged and AccountErased; cloudevents of all.

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
	return `What follows a ? in a URL may be a secret, and is not shown.

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
	Account string `name:"account" placeholder:"REF" help:"Whether it knows the last of this account: any of its ids, or its email address."`
}

func (c *thirdPartyShow) Help() string {
	return `What follows a ? in its URL may be a secret, and is not shown.

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
