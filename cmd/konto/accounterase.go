package main

import (
	"context"
	"errors"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/control"
	"konto/cmd/konto/datafolder"
)

type accountErase struct {
	Ref string `arg:"" name:"ref" help:"The account: any of its ids, or its email address."`
	Yes bool   `name:"yes" help:"Required: an erasure cannot be undone."`
}

func (c *accountErase) Help() string {
	return `Forgets an account for good: destroys the key that its data is encrypted with, in every copy of the log, revokes its
keys and sessions, and frees its email address. Third parties and NATS consumers are told that it was erased. Prints a signed
proof, without personal data, that can be checked with the keys at /.well-known/jwks.json.

Erasing an account again, by its id, finishes what was interrupted and prints the proof.

Examples:

    konto account erase anna@example.com --yes
    konto account erase acct_01hxa3b4c5d6e7f8g9h0j1k2m3 --yes --json`
}

// Validate is called by kong.
func (c *accountErase) Validate() error {
	if !c.Yes {
		return errors.New("an erasure cannot be undone; add --yes")
	}
	return nil
}

func (c *accountErase) Run(ctx context.Context, on *opened, out *control.Output) error {
	id, err := on.FindAccount(ctx, c.Ref)
	if err != nil {
		return err
	}
	meta, err := datafolder.Operator()
	if err != nil {
		return err
	}
	done, err := on.Erasures.Erase(ctx, id, meta)
	if err != nil {
		return on.NotFound(err, c.Ref)
	}
	return out.Object(struct {
		ID     ulid.ULID `json:"id"`
		Erased time.Time `json:"erased"`
		Proof  string    `json:"proof"`
	}{id, done.Erased, done.Proof})
}
