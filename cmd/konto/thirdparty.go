package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"konto/cmd/konto/admin"
	"konto/cmd/konto/control"
	"konto/cmd/konto/datafolder"
	"konto/commands"
	"konto/events"
)

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
	meta, err := datafolder.Operator()
	if err != nil {
		return err
	}
	added, err := on.AddThirdParty(ctx, meta, commands.AddThirdParty{Name: c.Name, URL: c.URL, Format: c.Format, Events: c.Events})
	return printSecret(out, added, err)
}

// printSecret prints a secret even if something failed after it was made, because nothing shows it
// again.
func printSecret(out *control.Output, made admin.NewSecret, err error) error {
	if made.Secret == "" {
		return err
	}
	return errors.Join(err, out.Object(made))
}

type thirdPartyList struct{ idPages }

func (c *thirdPartyList) Help() string {
	return `The part of a URL after ? may be a secret and is not shown.

Examples:

    konto third-party list
    konto third-party list --json | jq -r .name`
}

func (c *thirdPartyList) Run(ctx context.Context, on *opened, out *control.Output) error {
	const row = "%-26s  %-18s  %-11s  %-20s  %s"
	out.Header(row, "ID", "STATE", "FORMAT", "NAME", "URL")
	return printPages(c.After, c.Limit, func(after string, limit int) (admin.Page[admin.ThirdParty], error) {
		return on.ListThirdParties(ctx, after, limit)
	}, func(p admin.ThirdParty) error {
		return out.Row(p, row, p.ID, strings.TrimSpace(p.State+" "+p.Reason), p.Format, p.Name, p.URL)
	})
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
	p, err := on.ThirdParty(ctx, c.Ref)
	if err != nil {
		return err
	}
	if c.Account == "" {
		return out.Object(p)
	}
	id, err := on.FindAccount(ctx, c.Account)
	if err != nil {
		return err
	}
	account, err := on.Standing(ctx, p.ID, id)
	if err != nil {
		return on.NotFound(err, c.Account)
	}
	return out.Object(struct {
		admin.ThirdParty
		Account admin.Standing `json:"account"`
	}{p, account})
}

// thirdPartyAct changes the state of a third party.
type thirdPartyAct func(ctx context.Context, meta events.Metadata, ref string) (admin.ThirdPartyState, error)

func (act thirdPartyAct) run(ctx context.Context, ref string, out *control.Output) error {
	meta, err := datafolder.Operator()
	if err != nil {
		return err
	}
	state, err := act(ctx, meta, ref)
	if err != nil {
		return err
	}
	return out.Object(state)
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
	return thirdPartyAct(on.PauseThirdParty).run(ctx, c.Ref, out)
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
	return thirdPartyAct(on.ResumeThirdParty).run(ctx, c.Ref, out)
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
	return thirdPartyAct(on.RemoveThirdParty).run(ctx, c.Ref, out)
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
	meta, err := datafolder.Operator()
	if err != nil {
		return err
	}
	rotated, err := on.RotateSecret(ctx, meta, c.Ref, time.Duration(c.Overlap))
	return printSecret(out, rotated, err)
}
