package main

import (
	"context"
	"fmt"
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

// revoke ends a credential of the wanted kind and returns when nobody can use
// it any more. To revoke one twice is no error.
func (on *opened) revoke(ctx context.Context, idOrToken, noun string, wanted func(events.Credential) bool) (events.Credential, error) {
	id, err := ulid.ParseStrict(idOrToken)
	if err != nil {
		id, _, err = events.ParseToken(idOrToken)
	}
	if err != nil {
		return events.Credential{}, fmt.Errorf("%q is not the id of a %s", idOrToken, noun)
	}
	credential, err := on.credential(ctx, id)
	if err != nil {
		return credential, err
	}
	if credential.Version == 0 || !wanted(credential) {
		return credential, fmt.Errorf("there is no %s %s", noun, id)
	}
	meta, err := datafolder.Operator()
	if err != nil {
		return credential, err
	}
	position, err := on.Credentials.Revoke(ctx, meta, id)
	if err != nil {
		return credential, err
	}
	return credential, on.WaitFor(ctx, position)
}

// credential folds the log, which is never behind.
func (on *opened) credential(ctx context.Context, id ulid.ULID) (c events.Credential, err error) {
	err = on.Store.Fold(ctx, events.CredentialStream(id), math.MaxUint64, &c.Version, c.Apply)
	return c, err
}

func printRevoked(out *control.Output, c events.Credential) error {
	return out.Object(struct {
		ID      string `json:"id"`
		Revoked bool   `json:"revoked"`
	}{c.ID.String(), true})
}
