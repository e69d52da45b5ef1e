package main

import (
	"context"
	"errors"

	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/admin"
	"konto/cmd/konto/control"
	"konto/events"
)

// linking is what link and unlink are about.
type linking struct {
	Ref     string `arg:"" name:"ref" help:"The account: any of its ids, or its email address."`
	Subject string `name:"subject" required:"" placeholder:"SUB" help:"The user's name at the identity provider: the claim sub of the user's tokens."`
	Issuer  string `name:"issuer" placeholder:"URL" help:"The identity provider: the claim iss; that of konto serve --user-jwt-issuer unless given."`
}

type accountLink struct{ linking }

func (c *accountLink) Help() string {
	return `Tokens of the user at the identity provider count as tokens of the account from now on. A user can
be linked to one account only, and an account to ten users. Linking twice changes nothing.

Examples:

    konto account link anna@example.com --subject 248289761001
    konto account link anna@example.com --subject 248289761001 --issuer https://id.example.com`
}

func (c *accountLink) Run(ctx context.Context, on *opened, out *control.Output) error {
	return c.run(ctx, on, out, on.LinkIdentity)
}

type accountUnlink struct{ linking }

func (c *accountUnlink) Help() string {
	return `Tokens of the user at the identity provider no longer count, from the next request on. konto account
show lists the users that are linked.

Examples:

    konto account unlink anna@example.com --subject 248289761001
    konto account unlink anna@example.com --subject 248289761001 --issuer https://id.example.com`
}

func (c *accountUnlink) Run(ctx context.Context, on *opened, out *control.Output) error {
	return c.run(ctx, on, out, on.UnlinkIdentity)
}

func (c *linking) run(ctx context.Context, on *opened, out *control.Output,
	change func(context.Context, events.Metadata, ulid.ULID, events.Identity) (admin.Linked, error),
) error {
	identity := events.Identity{Issuer: c.Issuer, Subject: c.Subject}
	if identity.Issuer == "" {
		if identity.Issuer = on.Server.IdentityProvider(); identity.Issuer == "" {
			return errors.New("no server with --user-jwt-issuer runs on this data folder, so give --issuer")
		}
	}
	return actOn(ctx, on, out, c.Ref, func(meta events.Metadata, id ulid.ULID) (any, error) {
		return change(ctx, meta, id, identity)
	})
}
