package datafolder

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/oklog/ulid/v2"

	"konto/commands"
	"konto/events"
)

// errReference is the error for a text that cannot stand for an account.
func errReference(ref string) error {
	return fmt.Errorf("%q is neither an account's id nor an email address", ref)
}

// FindAccount returns the id of the account that ref means: a ULID, client_..., acct_..., a
// Payway id or an email address. If ref is a ULID in one of its forms, there need be no such
// account.
func (f *Folder) FindAccount(ctx context.Context, ref string) (ulid.ULID, error) {
	id, err := f.LookUp(ctx, ref)
	if errors.Is(err, ErrNoReference) {
		return id, errReference(ref)
	}
	return id, f.NotFound(err, ref)
}

// ErrNoReference is LookUp's error for a text that cannot stand for an account.
var ErrNoReference = errors.New("neither an account's id nor an email address")

// LookUp is FindAccount with errors that do not repeat ref, which may be a person's address.
// Errors: ErrNoReference, commands.ErrNotFound, or those of the log.
func (f *Folder) LookUp(ctx context.Context, ref string) (ulid.ULID, error) {
	id, err := f.Accounts.FindByID(ctx, ref)
	switch {
	case !errors.Is(err, commands.ErrNoID):
		return id, err
	case strings.Contains(ref, "@"):
		return f.Accounts.FindEmail(ctx, ref)
	}
	return id, ErrNoReference
}

// LoadAccount returns the account that ref means.
func (f *Folder) LoadAccount(ctx context.Context, ref string) (events.Account, error) {
	id, err := f.FindAccount(ctx, ref)
	if err != nil {
		return events.Account{}, err
	}
	a, err := f.Accounts.Load(ctx, id)
	return a, f.NotFound(err, ref)
}

// NotFound adds to commands.ErrNotFound which account was not found, and where.
func (f *Folder) NotFound(err error, ref string) error {
	var shared *commands.Shared
	if errors.Is(err, commands.ErrNotFound) && !errors.As(err, &shared) {
		return fmt.Errorf("there is no account %s in %s", ref, Absolute(f.Path))
	}
	return err
}

// NewID returns a new id. Nobody can guess the next one from it.
func NewID() (ulid.ULID, error) { return ulid.New(ulid.Now(), rand.Reader) }

// Operator returns the metadata of an event that a command caused.
func Operator() (events.Metadata, error) {
	id, err := NewID()
	return events.Metadata{
		RequestID: "req_" + strings.ToLower(id.String()),
		Actor:     events.Actor{Kind: "operator"},
		Contract:  "cli",
	}, err
}

// Itself returns the metadata of an event that konto itself caused.
func Itself() events.Metadata { return events.Metadata{Actor: events.Actor{Kind: "konto"}} }
