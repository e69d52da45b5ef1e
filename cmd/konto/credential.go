package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/control"
	"konto/cmd/konto/datafolder"
	"konto/events"
)

// credentialShown is a credential for the operator: everything but its secret.
type credentialShown struct {
	ID       string    `json:"id"`
	Kind     string    `json:"kind"`
	Account  string    `json:"account,omitzero"`
	Name     string    `json:"name,omitzero"`
	Scopes   []string  `json:"scopes,omitempty"`
	AuthType string    `json:"authType,omitzero"`
	Admin    string    `json:"admin,omitzero"`
	Roles    []string  `json:"roles,omitempty"`
	Parent   string    `json:"parent,omitzero"`
	Label    string    `json:"label,omitzero"`
	Grant    string    `json:"grant,omitzero"`
	Issued   time.Time `json:"issued"`
	Expires  time.Time `json:"expiresAt,omitzero"`
	Revoked  time.Time `json:"revoked,omitzero"`
}

func showCredential(c events.Credential) credentialShown {
	return credentialShown{
		ID: c.ID.String(), Kind: c.Kind, Account: idOrNone(c.Account), Name: c.Name, Scopes: c.Scopes,
		AuthType: c.AuthType, Admin: c.Admin, Roles: c.Roles, Parent: idOrNone(c.Parent), Label: c.Label,
		Grant: c.Grant, Issued: c.Issued, Expires: c.ExpiresAt, Revoked: c.Revoked,
	}
}

func idOrNone(id ulid.ULID) string {
	if id.IsZero() {
		return ""
	}
	return id.String()
}

func (on *opened) listCredentials(ctx context.Context, out *control.Output, wanted func(events.Credential) bool) error {
	if err := on.CatchUp(ctx); err != nil {
		return err
	}
	for after := (ulid.ULID{}); ; {
		page, err := on.Model.Credentials(ctx, after, datafolder.PageSize)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, c := range page {
			if !wanted(c) {
				continue
			}
			holder := c.Name + c.Admin // at most one of them is set
			if !c.Account.IsZero() {
				holder = strings.TrimSpace(c.Account.String() + " " + holder)
			}
			state := "usable"
			switch {
			case !c.Revoked.IsZero():
				state = "revoked"
			case !c.Usable(time.Now()):
				state = "expired"
			}
			if err := out.Row(showCredential(c), "%s  %-8s  %-7s  %-26s  %s", c.ID, c.Kind, state, holder, strings.Join(c.Scopes, " ")); err != nil {
				return err
			}
		}
		after = page[len(page)-1].ID
	}
}

func isSession(c events.Credential) bool { return c.Kind == events.KindSession }

func isKey(c events.Credential) bool { return !isSession(c) }

// credentialRef names the credential that a command revokes.
type credentialRef struct {
	ID string `arg:"" name:"id" help:"Its id, or its token or cookie; - reads it from standard input, because other users can read an argument."`
}

func (c *credentialRef) readInput(stdin io.Reader) (err error) {
	if c.ID == "-" {
		c.ID, err = readLine(stdin, "id, token or cookie")
	}
	return err
}

// revoke revokes a credential of the wanted kind, and returns when nobody can use it. It is no
// error if the credential was revoked before.
func (on *opened) revoke(ctx context.Context, out *control.Output, idOrToken, noun string, wanted func(events.Credential) bool) error {
	id, err := ulid.ParseStrict(idOrToken)
	if err != nil {
		id, _, err = events.ParseToken(idOrToken)
	}
	if err != nil {
		return fmt.Errorf("%q is not the id of a %s", idOrToken, noun)
	}
	var credential events.Credential // from the log, which is never behind
	if err := on.Store.Fold(ctx, events.CredentialStream(id), math.MaxUint64, &credential.Version, credential.Apply); err != nil {
		return err
	}
	if credential.Version == 0 || !wanted(credential) {
		return fmt.Errorf("there is no %s %s", noun, id)
	}
	meta, err := datafolder.Operator()
	if err != nil {
		return err
	}
	position, err := on.Credentials.Revoke(ctx, meta, id)
	if err != nil {
		return err
	}
	if err := on.WaitFor(ctx, position); err != nil {
		return err
	}
	on.server.Disconnect(credential)
	return out.Object(struct {
		ID      string `json:"id"`
		Revoked bool   `json:"revoked"`
	}{id.String(), true})
}
