package projections

import (
	"context"
	"errors"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/sqlitefile"
)

// A row whose key is destroyed reads as what is left of its owner: an erased
// account, a credential that cannot be used, a third party that is gone, each at
// the version that its columns name. A key may be destroyed before the follower
// has come to the event that ends the stream, and an older log may be restored
// that lacks that event: in both cases the fold goes on from there, and ends
// where one over the whole log does, which finds the same events unreadable.

func (m *ReadModel) scanAccount(ctx context.Context, scan scanner) (events.Account, error) {
	var id ulid.ULID
	var a, left events.Account
	var erased bool
	var opened, updated int64
	var content []byte
	if err := scan(&id, &erased, &left.Version, &left.Position, &opened, &updated, &content); err != nil {
		return a, err
	}
	if !erased {
		if err := m.unseal(ctx, events.AccountStream(id), accountTable, content, &a); !errors.Is(err, eventstore.ErrDestroyed) {
			return a, err
		}
	}
	left.ID, left.Opened, left.Updated = id, sqlitefile.Time(opened), sqlitefile.Time(updated)
	left = left.Remains()
	left.Shredded = !erased
	return left, nil
}

func (m *ReadModel) scanCredential(ctx context.Context, scan scanner) (events.Credential, error) {
	var id ulid.ULID
	var c, left events.Credential
	var issued, revoked int64
	var content []byte
	if err := scan(&id, &left.Version, &issued, &revoked, &content); err != nil {
		return c, err
	}
	if err := m.unseal(ctx, events.CredentialStream(id), credentialTable, content, &c); !errors.Is(err, eventstore.ErrDestroyed) {
		return c, err
	}
	left.ID, left.Issued, left.Revoked = id, sqlitefile.Time(issued), sqlitefile.Time(revoked)
	return left.Remains(), nil
}

func (m *ReadModel) scanThirdParty(ctx context.Context, scan scanner) (events.ThirdParty, error) {
	var id ulid.ULID
	var p, left events.ThirdParty
	var content []byte
	if err := scan(&id, &left.Version, &content); err != nil {
		return p, err
	}
	if len(content) > 0 {
		if err := m.unseal(ctx, events.ThirdPartyStream(id), thirdPartyTable, content, &p); !errors.Is(err, eventstore.ErrDestroyed) {
			return p, err
		}
	}
	left.ID = id
	return left.Remains(), nil
}

// sealAccount gives what an account's row holds: nothing of an erased one. One
// whose key was destroyed since its events were read becomes what is left of it.
func (m *ReadModel) sealAccount(ctx context.Context, id ulid.ULID, a *events.Account) ([]byte, error) {
	if a.Erased {
		return []byte{}, nil
	}
	content, err := m.seal(ctx, events.AccountStream(id), accountTable, a)
	if errors.Is(err, eventstore.ErrDestroyed) {
		*a = a.Remains()
		return []byte{}, nil
	}
	return content, err
}

// sealCredential is sealAccount for a credential.
func (m *ReadModel) sealCredential(ctx context.Context, id ulid.ULID, c events.Credential) (events.Credential, []byte, error) {
	if c.Kind == "" {
		return c, []byte{}, nil
	}
	content, err := m.seal(ctx, events.CredentialStream(id), credentialTable, c)
	if errors.Is(err, eventstore.ErrDestroyed) {
		return c.Remains(), []byte{}, nil
	}
	return c, content, err
}

// sealThirdParty gives what a third party's row holds: nothing of one that is gone.
func (m *ReadModel) sealThirdParty(ctx context.Context, id ulid.ULID, p events.ThirdParty) ([]byte, error) {
	if !p.Exists() {
		return []byte{}, nil
	}
	content, err := m.seal(ctx, events.ThirdPartyStream(id), thirdPartyTable, p)
	if errors.Is(err, eventstore.ErrDestroyed) {
		return []byte{}, nil
	}
	return content, err
}
