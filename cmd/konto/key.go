package main

import (
	"context"
	"errors"
	"slices"

	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/control"
	"konto/cmd/konto/datafolder"
	"konto/events"
)

type keyIssue struct {
	Account  string   `name:"account" xor:"holder" required:"" placeholder:"REF" help:"A key that acts as this account (HostUp, generic)."`
	Client   string   `name:"client" xor:"holder" required:"" placeholder:"NAME" help:"A token of this client, for any account (Payway)."`
	Consumer string   `name:"consumer" xor:"holder" required:"" placeholder:"NAME" help:"A key with which this consumer may subscribe on NATS."`
	Inbound  string   `name:"inbound" xor:"holder" required:"" placeholder:"NAME" help:"A key with which this system may send facts on NATS."`
	Scopes   []string `name:"scope" placeholder:"SCOPE" help:"What the key may do; give it once for each."`
}

func (c *keyIssue) Help() string {
	return `The token is printed once and not stored. It can be used at once. On an outside NATS server (konto
serve --nats-url) the tokens of consumers and of systems that send facts mean nothing: the operator
of that server gives out the rights.

A client sends its token as "Authorization: Bearer TOKEN". Or it gets access tokens at POST
/oauth/token, where it authenticates with clientId, which is the key's id, and clientSecret, which is
the token.

Examples:

    konto key issue --account anna@example.com --scope read:account --scope write:account
    konto key issue --client newspaper --scope /external/account/r --scope /external/account/w
    konto key issue --consumer billing
    konto key issue --inbound registry`
}

// Validate is called by kong.
func (c *keyIssue) Validate() error {
	if c.Consumer == "" && c.Inbound == "" && len(c.Scopes) == 0 {
		return errors.New("a key without --scope could do nothing")
	}
	if c.Inbound != "" && len(c.Scopes) > 0 {
		return errors.New("a system that sends facts has no --scope: it may send, and nothing else")
	}
	if c.Consumer != "" && len(c.Scopes) > 0 {
		return errors.New("a consumer has no --scope: it may subscribe, and nothing else")
	}
	return nil
}

func (c *keyIssue) Run(ctx context.Context, on *opened, out *control.Output) error {
	spec := events.KeyIssued{Client: c.Client, Consumer: c.Consumer, Inbound: c.Inbound, Scopes: c.Scopes}
	if c.Account != "" {
		a, err := on.LoadAccount(ctx, c.Account)
		if err != nil {
			return err
		}
		spec.Account = a.ID
	}
	id, token, err := on.issueKey(ctx, spec)
	if err != nil {
		return err
	}
	issued := struct {
		ID           string `json:"id"`
		Token        string `json:"token"`
		ClientID     string `json:"clientId,omitempty"`
		ClientSecret string `json:"clientSecret,omitempty"`
	}{ID: id.String(), Token: token}
	if c.Client != "" {
		issued.ClientID, issued.ClientSecret = issued.ID, issued.Token
	}
	return out.Object(issued)
}

// issueKey returns when the key can be used.
func (on *opened) issueKey(ctx context.Context, spec events.KeyIssued) (id ulid.ULID, token string, err error) {
	meta, err := datafolder.Operator()
	if err != nil {
		return id, "", err
	}
	known, err := on.Model.ConsumerNames(ctx)
	if err != nil {
		return id, "", err
	}
	issued, err := on.Credentials.IssueKey(ctx, meta, spec)
	if err != nil {
		return id, "", err
	}
	if err := on.WaitFor(ctx, issued.Position); err != nil {
		return id, "", err
	}
	if spec.Consumer != "" && !slices.Contains(known, spec.Consumer) {
		err = on.server.Reserve(spec.Consumer)
	}
	return issued.ID, issued.Token, err
}

type keyList struct{}

func (c *keyList) Help() string {
	return `Examples:

    konto key list
    konto key list --json`
}

func (c *keyList) Run(ctx context.Context, on *opened, out *control.Output) error {
	return on.listCredentials(ctx, out, isKey)
}

type keyRevoke struct{ credentialRef }

func (c *keyRevoke) Help() string {
	return `Closes the NATS connections that a consumer, or a system that sends facts, made with the key. Those
that it made with its other keys stay open. On the NATS servers of several nodes, connections end
within ten minutes.

Examples:

    konto key revoke 01HXA3B4C5D6E7F8G9H0J1K2M3
    konto key revoke - < leaked-token`
}

func (c *keyRevoke) Run(ctx context.Context, on *opened, out *control.Output) error {
	return on.revoke(ctx, out, c.ID, "key", isKey)
}
