package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"konto/cmd/konto/admin"
	"konto/cmd/konto/control"
	"konto/cmd/konto/datafolder"
	"konto/events"
)

type keyIssue struct {
	Account  string   `name:"account" xor:"holder" required:"" placeholder:"REF" help:"A key that acts as this account (HostUp, generic)."`
	Client   string   `name:"client" xor:"holder" required:"" placeholder:"NAME" help:"A token of this client, for any account (Payway)."`
	Consumer string   `name:"consumer" xor:"holder" required:"" placeholder:"NAME" help:"A key with which this consumer may subscribe on NATS."`
	Inbound  string   `name:"inbound" xor:"holder" required:"" placeholder:"NAME" help:"A key with which this system may send facts on NATS."`
	Admin    string   `name:"admin" xor:"holder" required:"" placeholder:"NAME" help:"A key with which this administrator may call /admin/v1; needs --role."`
	Role     string   `name:"role" enum:"viewer,operator," default:"" help:"viewer or operator: whether an administrator may only read, or do everything."`
	Scopes   []string `name:"scope" placeholder:"SCOPE" help:"What the key may do; give it once for each."`
	Label    string   `name:"label" placeholder:"TEXT" help:"What the key is for, as lists show it."`
	Expires  expiry   `name:"expires" placeholder:"DURATION|TIME" help:"When the key expires, such as 720h or 2027-01-31; never unless given." json:",omitzero"`
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
    konto key issue --inbound registry
    konto key issue --admin eva --role viewer --label "Eva's laptop" --expires 2160h`
}

// Validate is called by kong.
func (c *keyIssue) Validate() error {
	switch {
	case c.Admin != "" && c.Role == "":
		return errors.New("--admin needs --role: viewer or operator")
	case c.Admin == "" && c.Role != "":
		return errors.New("--role goes with --admin")
	case c.Admin != "" && len(c.Scopes) > 0:
		return errors.New("an administrator has a --role and no --scope")
	}
	if c.Consumer == "" && c.Inbound == "" && c.Admin == "" && len(c.Scopes) == 0 {
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
	spec := events.KeyIssued{
		Client: c.Client, Consumer: c.Consumer, Inbound: c.Inbound, Admin: c.Admin, Role: c.Role,
		Scopes: c.Scopes, Label: c.Label, ExpiresAt: c.Expires.Time,
	}
	if c.Account != "" {
		a, err := on.LoadAccount(ctx, c.Account)
		if err != nil {
			return err
		}
		spec.Account = a.ID
	}
	meta, err := datafolder.Operator()
	if err != nil {
		return err
	}
	issued, err := on.IssueKey(ctx, meta, spec)
	if err != nil {
		return err
	}
	return out.Object(issued)
}

// expiry is when a key expires. A duration counts from when it is read, which is on the caller's
// machine.
type expiry struct{ time.Time }

// UnmarshalText reads a duration, an RFC 3339 time, or a date, which means its first instant in UTC.
func (e *expiry) UnmarshalText(text []byte) (err error) {
	if life, failed := time.ParseDuration(string(text)); failed == nil {
		e.Time = time.Now().Add(life)
		return nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if e.Time, err = time.Parse(layout, string(text)); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%q is neither a duration such as 720h nor a time such as 2027-01-31T12:00:00Z", text)
}

type keyList struct{ credentialList }

func (c *keyList) Help() string {
	return `The last use is that on this node since its server started.

Examples:

    konto key list
    konto key list --limit 100 --after 01HXA3B4C5D6E7F8G9H0J1K2M3
    konto key list --account anna@example.com --json`
}

func (c *keyList) Run(ctx context.Context, on *opened, out *control.Output) error {
	return c.print(ctx, on, out, admin.Key)
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
	return c.revoke(ctx, on, out, admin.Key)
}
