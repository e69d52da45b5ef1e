package commands

import (
	"context"
	"crypto/rand"
	"strings"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
)

// Credentials issues and revokes keys and sessions.
type Credentials struct{ streamWriter }

// NewCredentials returns a Credentials. now may be nil.
func NewCredentials(store *eventstore.Store, now Clock) *Credentials {
	return &Credentials{newStreamWriter(store, now)}
}

// Issued is a new credential. The token is returned only here, and it is not stored.
type Issued struct {
	ID       ulid.ULID
	Token    string
	Position uint64 // of its event in the log
}

// IssueKey stores a new key. It sets the spec's SecretHash. Errors: *Invalid, or ErrNotFound if
// the spec's account does not exist.
func (c *Credentials) IssueKey(ctx context.Context, meta events.Metadata, spec events.KeyIssued) (Issued, error) {
	if wrong := checkKey(spec); len(wrong) > 0 {
		return Issued{}, &Invalid{Fields: wrong}
	}
	if err := c.mustExist(ctx, spec.Account); err != nil {
		return Issued{}, err
	}
	return c.issue(ctx, meta, func(secretHash []byte) events.Payload {
		spec.SecretHash = secretHash
		return spec
	})
}

// OpenSession stores a new session. It sets the spec's SecretHash, and its Grant if the spec has
// a Parent. The default AuthType is admin if the spec has an administrator, else session. The
// default Scopes are all. Errors: *Invalid, or ErrNotFound if the account or the parent does
// not exist.
func (c *Credentials) OpenSession(ctx context.Context, meta events.Metadata, spec events.SessionOpened) (Issued, error) {
	spec = withDefaults(spec)
	if wrong := checkSession(spec, c.now()); len(wrong) > 0 {
		return Issued{}, &Invalid{Fields: wrong}
	}
	for _, account := range []ulid.ULID{spec.Account, spec.Parent} {
		if err := c.mustExist(ctx, account); err != nil {
			return Issued{}, err
		}
	}
	if !spec.Parent.IsZero() {
		grant, err := newID(c.now())
		if err != nil {
			return Issued{}, err
		}
		spec.Grant = "grant_" + strings.ToLower(grant.String())
	}
	return c.issue(ctx, meta, func(secretHash []byte) events.Payload {
		spec.SecretHash = secretHash
		return spec
	})
}

// Revoke ends a credential and returns the position of its last event. Revoking twice is no
// error. ErrNotFound: there is no such credential.
func (c *Credentials) Revoke(ctx context.Context, meta events.Metadata, id ulid.ULID) (position uint64, err error) {
	stream := events.CredentialStream(id)
	return retryConflicts(func() (uint64, error) {
		last, err := c.store.Last(ctx, stream)
		switch {
		case err != nil:
			return 0, err
		case last.Version == 0:
			return 0, ErrNotFound
		case last.Type == events.TypeCredentialRevoked:
			return last.Position, nil
		}
		return c.append(ctx, stream, last.Version, meta, events.CredentialRevoked{})
	})
}

// issue makes a credential with a new secret.
func (c *Credentials) issue(ctx context.Context, meta events.Metadata, payload func(secretHash []byte) events.Payload) (Issued, error) {
	id, err := newID(c.now())
	if err != nil {
		return Issued{}, err
	}
	var secret [events.SecretSize]byte
	rand.Read(secret[:]) // never fails: crypto/rand ends the program instead
	position, err := c.append(ctx, events.CredentialStream(id), 0, meta, payload(events.HashSecret(secret)))
	if err != nil {
		return Issued{}, err
	}
	return Issued{ID: id, Token: events.Token(id, secret), Position: position}, nil
}

// mustExist returns ErrNotFound for an account that was never opened or was erased. The zero id
// stands for no account, so it is accepted.
func (c *Credentials) mustExist(ctx context.Context, account ulid.ULID) error {
	if account.IsZero() {
		return nil
	}
	last, err := c.store.Last(ctx, events.AccountStream(account))
	if err != nil {
		return err
	}
	if last.Version == 0 || last.Type == events.TypeAccountErased || last.Shredded {
		return ErrNotFound
	}
	return nil
}
