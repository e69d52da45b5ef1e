package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/control"
	"konto/cmd/konto/datafolder"
	"konto/events"
)

// shown is an account for the operator: everything but secrets.
type shown struct {
	identity
	Email         string         `json:"email"`
	Administrator bool           `json:"administrator"`
	Erased        bool           `json:"erased,omitzero"`
	Profile       events.Profile `json:"profile"`
	Facts         events.Facts   `json:"facts"`
	PendingEmail  string         `json:"pendingEmail,omitzero"`
	HasPassword   bool           `json:"hasPassword"`
	Opened        time.Time      `json:"opened"`
	Updated       time.Time      `json:"updated"`
	Position      uint64         `json:"position"`
}

func show(a events.Account) shown {
	return shown{
		identity: identify(a), Email: a.Email, Administrator: a.Administrator, Erased: a.Erased,
		Profile: a.Profile, Facts: a.Facts, PendingEmail: a.EmailChange.NewEmail,
		HasPassword: a.PasswordHash != "", Opened: a.Opened, Updated: a.Updated, Position: a.Position,
	}
}

// moment is a point in an account's history: a version, or a time. The zero
// moment is now.
type moment struct {
	Version uint64
	Time    time.Time
}

// UnmarshalText reads a version, an RFC 3339 time, or a date, which means its
// first instant in UTC.
func (m *moment) UnmarshalText(text []byte) (err error) {
	if m.Version, err = strconv.ParseUint(string(text), 10, 64); err == nil {
		if m.Version == 0 {
			return errors.New("versions count from 1")
		}
		return nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if m.Time, err = time.Parse(layout, string(text)); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%q is neither a version nor a time such as 2026-01-31T12:00:00Z", text)
}

// MarshalText is the reverse of UnmarshalText, for the control socket, where the
// zero moment is left out.
func (m moment) MarshalText() ([]byte, error) {
	if m.Time.IsZero() {
		return strconv.AppendUint(nil, m.Version, 10), nil
	}
	return m.Time.AppendFormat(nil, time.RFC3339Nano), nil
}

// before tells whether the moment had passed when e happened.
func (m moment) before(e events.Event) bool {
	return m.Version > 0 && e.Version > m.Version || !m.Time.IsZero() && e.Time.After(m.Time)
}

type accountShow struct {
	Ref string `arg:"" name:"ref" help:"The account: any of its ids, or its email address."`
	At  moment `name:"at" placeholder:"VERSION|TIME" help:"As it was at a version or a time." json:",omitzero"`
}

func (c *accountShow) Help() string {
	return `Examples:

    konto account show anna@example.com
    konto account show 50f3ac249f6aef294d000007 --at 3 --json
    konto account show client_01hxa3b4c5d6e7f8g9h0j1k2m3 --at 2026-01-31T12:00:00Z`
}

func (c *accountShow) Run(ctx context.Context, on *opened, out *control.Output) error {
	if c.At == (moment{}) {
		a, err := on.LoadAccount(ctx, c.Ref)
		if err != nil {
			return err
		}
		return out.Object(show(a))
	}
	var a events.Account
	for e, err := range on.history(ctx, c.Ref, c.At) {
		if err != nil {
			return err
		}
		p, err := e.Payload()
		if err != nil {
			return err
		}
		a.Apply(e, p)
	}
	return out.Object(show(a))
}

type accountList struct{}

func (c *accountList) Help() string {
	return `Examples:

    konto account list
    konto account list --json | jq -r .email`
}

func (c *accountList) Run(ctx context.Context, on *opened, out *control.Output) error {
	if err := on.CatchUp(ctx); err != nil {
		return err
	}
	for after := (ulid.ULID{}); ; {
		page, err := on.Model.Accounts(ctx, after, datafolder.PageSize)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, a := range page {
			name := strings.TrimSpace(a.Profile.FirstName + " " + a.Profile.LastName)
			if a.Profile.CompanyName != "" {
				name = a.Profile.CompanyName
			}
			if err := out.Row(show(a), "%s  %s  %-32s  %s", a.ID, a.PaywayID, a.Email, name); err != nil {
				return err
			}
		}
		after = page[len(page)-1].ID
	}
}
