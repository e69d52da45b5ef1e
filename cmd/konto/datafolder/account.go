package datafolder

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/oklog/ulid/v2"

	"konto/commands"
	"konto/events"
)

// The contracts' own forms of an account's id.
const (
	ClientPrefix  = "client_" // HostUp
	AccountPrefix = "acct_"   // generic
)

var paywayID = regexp.MustCompile(`^[0-9A-Fa-f]{24}$`)

// errReference tells what can stand for an account on the command line.
func errReference(ref string) error {
	return fmt.Errorf("%q is neither an account's id nor an email address", ref)
}

// FindAccount finds the account that a person means: by its ULID, client_..., or
// acct_..., its Payway id or its email address. It returns an id even for an
// account that was never opened, when ref is an id of its own form.
func (f *Folder) FindAccount(ctx context.Context, ref string) (ulid.ULID, error) {
	id, err := f.LookUp(ctx, ref)
	if errors.Is(err, ErrNoReference) {
		return id, errReference(ref)
	}
	return id, f.NotFound(err, ref)
}

// ErrNoReference tells that a text cannot stand for an account.
var ErrNoReference = errors.New("neither an account's id nor an email address")

// LookUp is account with errors that do not repeat the reference, which may be
// somebody's address: errNoReference, commands.ErrNotFound or the log's.
func (f *Folder) LookUp(ctx context.Context, ref string) (ulid.ULID, error) {
	bare := strings.TrimPrefix(strings.TrimPrefix(ref, ClientPrefix), AccountPrefix)
	if id, err := ulid.ParseStrict(bare); err == nil {
		return id, nil
	}
	switch {
	case paywayID.MatchString(ref):
		return f.Accounts.Find(ctx, events.PaywayIDClaim(ref))
	case strings.Contains(ref, "@"):
		return f.Accounts.FindEmail(ctx, ref)
	}
	return ulid.ULID{}, ErrNoReference
}

// LoadAccount is account for one that must exist.
func (f *Folder) LoadAccount(ctx context.Context, ref string) (events.Account, error) {
	id, err := f.FindAccount(ctx, ref)
	if err != nil {
		return events.Account{}, err
	}
	a, err := f.Accounts.Load(ctx, id)
	return a, f.NotFound(err, ref)
}

// NotFound names what was not found, and where.
func (f *Folder) NotFound(err error, ref string) error {
	var shared *commands.Shared
	if errors.Is(err, commands.ErrNotFound) && !errors.As(err, &shared) {
		return fmt.Errorf("there is no account %s in %s", ref, Absolute(f.Path))
	}
	return err
}

// NewID makes an id that nobody can guess the next one from.
func NewID() (ulid.ULID, error) { return ulid.New(ulid.Now(), rand.Reader) }

// Operator is the metadata of an event that the command line caused.
func Operator() (events.Metadata, error) {
	id, err := NewID()
	return events.Metadata{
		RequestID: "req_" + strings.ToLower(id.String()),
		Actor:     events.Actor{Kind: "operator"},
		Contract:  "cli",
	}, err
}

// Itself is the metadata of what konto does of its own accord.
func Itself() events.Metadata { return events.Metadata{Actor: events.Actor{Kind: "konto"}} }
