package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/admin"
	"konto/cmd/konto/control"
	"konto/cmd/konto/datafolder"
	"konto/events"
)

// credentialList has the flags of the lists of keys and of sessions.
type credentialList struct {
	Account string `name:"account" placeholder:"REF" help:"Only those of this account: any of its ids, or its email address."`
	idPages
}

func (c *credentialList) print(ctx context.Context, on *opened, out *control.Output, kind admin.CredentialKind) error {
	filter := admin.CredentialFilter{Kind: kind}
	if c.Account != "" {
		var err error
		if filter.Account, err = on.FindAccount(ctx, c.Account); err != nil {
			return err
		}
	}
	const row = "%-26s  %-8s  %-7s  %-10s  %-10s  %-26s  %s"
	out.Header(row, "ID", "KIND", "STATE", "EXPIRES", "LAST USED", "HOLDER", "SCOPES, ROLES AND LABEL")
	return printPages(c.After, c.Limit, func(after string, limit int) (admin.Page[admin.Credential], error) {
		return on.ListCredentials(ctx, filter, after, limit)
	}, func(s admin.Credential) error {
		holder := strings.TrimSpace(s.Account + " " + s.Name + s.Admin) // at most one of the names is set
		words := append(append([]string{}, s.Scopes...), s.Roles...)
		if s.Label != "" {
			words = append(words, fmt.Sprintf("%q", s.Label))
		}
		return out.Row(s, row, s.ID, s.Kind, s.State, day(s.Expires), day(s.LastUsed), holder, strings.Join(words, " "))
	})
}

// day returns the date of a time, or - for none.
func day(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Format(time.DateOnly)
}

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

// revoke revokes the credential, and returns when nobody can use it.
func (c *credentialRef) revoke(ctx context.Context, on *opened, out *control.Output, kind admin.CredentialKind) error {
	id, err := ulid.ParseStrict(c.ID)
	if err != nil {
		id, _, err = events.ParseToken(c.ID)
	}
	if err != nil {
		return fmt.Errorf("%q is not the id of a %s", c.ID, kind)
	}
	meta, err := datafolder.Operator()
	if err != nil {
		return err
	}
	revoked, err := on.Revoke(ctx, meta, kind, id)
	if err != nil {
		return err
	}
	return out.Object(revoked)
}
