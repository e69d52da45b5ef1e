package admin

import (
	"context"

	"github.com/oklog/ulid/v2"

	"konto/commands"
	"konto/events"
)

// Linked is an account, and the users of identity providers who are its holder.
type Linked struct {
	ID         string            `json:"id"`
	Version    uint64            `json:"version"`
	Identities []events.Identity `json:"identities"`
}

// LinkIdentity makes the tokens of a user of an identity provider count as tokens of an account.
func (k *Konto) LinkIdentity(ctx context.Context, meta events.Metadata, id ulid.ULID, i events.Identity) (Linked, error) {
	return k.changeIdentities(ctx, meta, id, "account link", commands.LinkIdentity{Identity: i})
}

// UnlinkIdentity ends that. Requests that begin after it are refused.
func (k *Konto) UnlinkIdentity(ctx context.Context, meta events.Metadata, id ulid.ULID, i events.Identity) (Linked, error) {
	return k.changeIdentities(ctx, meta, id, "account unlink", commands.UnlinkIdentity{Identity: i})
}

func (k *Konto) changeIdentities(ctx context.Context, meta events.Metadata, id ulid.ULID, act string, c commands.Command) (Linked, error) {
	outcome, err := k.Accounts.Do(ctx, id, meta, c)
	if err != nil {
		return Linked{}, err
	}
	k.Acted(meta, act, "account", id.String())
	linked := Linked{ID: id.String(), Version: outcome.Account.Version, Identities: []events.Identity{}}
	linked.Identities = append(linked.Identities, outcome.Account.Identities...)
	return linked, nil
}

// identities makes a route that changes the identities of an account.
func (k *Konto) identities(change func(context.Context, events.Metadata, ulid.ULID, events.Identity) (Linked, error)) func(*request) (Linked, error) {
	return func(r *request) (Linked, error) {
		var body struct {
			Issuer  string `json:"issuer"`
			Subject string `json:"subject"`
		}
		if err := r.Read(&body); err != nil {
			return Linked{}, err
		}
		if body.Issuer == "" {
			body.Issuer = k.Server.IdentityProvider()
		}
		id, err := k.accountOf(r)
		if err != nil {
			return Linked{}, err
		}
		return change(r.Context(), r.Metadata(), id, events.Identity{Issuer: body.Issuer, Subject: body.Subject})
	}
}
