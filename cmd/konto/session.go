package main

import (
	"context"
	"errors"
	"time"

	"konto/cmd/konto/admin"
	"konto/cmd/konto/control"
	"konto/cmd/konto/datafolder"
	"konto/events"
)

type sessionOpen struct {
	Account     string   `name:"account" placeholder:"REF" help:"The account of the session; none for an administrator who impersonates nobody."`
	AuthType    string   `name:"auth-type" enum:"session,admin,bankid-selection,billing-sso," default:"" help:"session, admin, bankid-selection or billing-sso; admin with --admin, else session, unless given."`
	Admin       string   `name:"admin" placeholder:"NAME" help:"The administrator who holds the session."`
	Roles       []string `name:"role" placeholder:"ROLE" help:"A role of the administrator; give it once for each."`
	DelegatedBy string   `name:"delegated-by" placeholder:"REF" help:"The account that delegated its access."`
	Label       string   `name:"label" placeholder:"LABEL" help:"The label of the delegated grant."`
	Scopes      []string `name:"scope" placeholder:"SCOPE" default:"read:account,write:account,read:billing,read:support" help:"What the session may do; give it once for each (${default})."`
	ExpiresIn   lifetime `name:"expires-in" default:"24h" placeholder:"DURATION" help:"How long the session lasts; 0: forever."`
}

// lifetime is a duration that is text in JSON, as for the control socket.
type lifetime time.Duration

// UnmarshalText reads a duration as time.ParseDuration does. A negative one is an error.
func (l *lifetime) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	if err == nil && d < 0 {
		err = errors.New("it cannot be less than 0")
	}
	*l = lifetime(d)
	return err
}

// MarshalText is the reverse of UnmarshalText.
func (l lifetime) MarshalText() ([]byte, error) { return []byte(time.Duration(l).String()), nil }

func (c *sessionOpen) Help() string {
	return `The cookie is printed once and not stored. It can be used at once.

Examples:

    konto session open --account anna@example.com
    konto session open --account anna@example.com --admin eva --role support
    konto session open --account acme@example.com --delegated-by anna@example.com --label Bookkeeper
    konto session open --admin eva --role support`
}

// Validate is called by kong.
func (c *sessionOpen) Validate() error {
	switch {
	case c.Account == "" && c.Admin == "":
		return errors.New("give --account, or --admin, or both")
	case c.Admin == "" && (len(c.Roles) > 0 || c.AuthType == "admin"):
		return errors.New("only a session with --admin has the type admin or a --role")
	case c.DelegatedBy != "" && (c.Account == "" || c.Label == ""):
		return errors.New("--delegated-by needs --account and --label")
	case c.Label != "" && c.DelegatedBy == "":
		return errors.New("--label needs --delegated-by")
	}
	return nil
}

func (c *sessionOpen) Run(ctx context.Context, on *opened, out *control.Output) error {
	spec, err := c.spec(ctx, on)
	if err != nil {
		return err
	}
	meta, err := datafolder.Operator()
	if err != nil {
		return err
	}
	session, err := on.OpenSession(ctx, meta, spec)
	if err != nil {
		return err
	}
	return out.Object(session)
}

func (c *sessionOpen) spec(ctx context.Context, on *opened) (events.SessionOpened, error) {
	spec := events.SessionOpened{
		AuthType: c.AuthType, Scopes: c.Scopes, Admin: c.Admin, Roles: c.Roles, Label: c.Label,
	}
	if c.ExpiresIn > 0 {
		spec.ExpiresAt = time.Now().Add(time.Duration(c.ExpiresIn)).UTC().Truncate(time.Millisecond)
	}
	if c.Account != "" {
		a, err := on.LoadAccount(ctx, c.Account)
		if err != nil {
			return spec, err
		}
		spec.Account = a.ID
	}
	if c.DelegatedBy == "" {
		return spec, nil
	}
	parent, err := on.LoadAccount(ctx, c.DelegatedBy)
	if err != nil {
		return spec, err
	}
	spec.Parent = parent.ID
	return spec, nil
}

type sessionList struct{ credentialList }

func (c *sessionList) Help() string {
	return `Examples:

    konto session list
    konto session list --account anna@example.com --json`
}

func (c *sessionList) Run(ctx context.Context, on *opened, out *control.Output) error {
	return c.print(ctx, on, out, admin.Session)
}

type sessionClose struct{ credentialRef }

func (c *sessionClose) Help() string {
	return `Examples:

    konto session close 01HXA3B4C5D6E7F8G9H0J1K2M3
    konto session close - < stolen-cookie`
}

func (c *sessionClose) Run(ctx context.Context, on *opened, out *control.Output) error {
	return c.revoke(ctx, on, out, admin.Session)
}
