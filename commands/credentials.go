package commands

import (
	"context"
	"crypto/rand"
	"regexp"
	"slices"
	"strings"
	"time"

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
	spec.ExpiresAt = spec.ExpiresAt.UTC().Truncate(time.Millisecond)
	if wrong := checkKey(spec, c.now()); len(wrong) > 0 {
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

// The scopes that each kind of credential may have. Credentials for NATS have none, because
// they can do one thing only.
var (
	AccountScopes = []string{"read:account", "write:account", "read:billing", "read:support"} // HostUp's
	clientScopes  = []string{"/external/account/r", "/external/account/w"}                    // Payway's
)

// authTypes are HostUp's kinds of dashboard session.
var authTypes = []string{"session", "admin", "bankid-selection", "billing-sso"}

// natsName allows few characters, because the name becomes part of NATS subjects, accounts and
// consumer names. It has no capitals, so that no two names look alike.
var natsName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

// ownPrefix begins the names of konto's own consumers on NATS.
const ownPrefix = "konto-"

// maxName is the longest name of a client, an administrator or a grant, in characters.
const maxName = 64

// checkKey returns what is wrong with a key that is issued now.
func checkKey(k events.KeyIssued, now time.Time) []FieldError {
	var c checker
	holders := 0
	for _, is := range []bool{!k.Account.IsZero(), k.Client != "", k.Consumer != "", k.Inbound != "", k.Admin != ""} {
		if is {
			holders++
		}
	}
	switch {
	case holders != 1:
		c.reject("", &fault{CodeMustBeSet, "A key belongs to exactly one of an account, a client, a consumer, a system that sends facts and an administrator."})
	case !k.Account.IsZero():
		c.someScopes(k.Scopes, AccountScopes)
	case k.Client != "":
		c.label("/client", k.Client)
		c.someScopes(k.Scopes, clientScopes)
	case k.Consumer != "":
		c.natsHolder("/consumer", k.Consumer, k.Scopes)
	case k.Inbound != "":
		c.natsHolder("/inbound", k.Inbound, k.Scopes)
	default:
		c.label("/admin", k.Admin)
		if len(k.Scopes) > 0 {
			c.reject("/scopes", &fault{CodeNotAllowed, "An administrator's key has a role and no scopes."})
		}
	}
	switch isRole := k.Role == events.RoleViewer || k.Role == events.RoleOperator; {
	case k.Admin == "" && k.Role != "":
		c.reject("/role", &fault{CodeNotAllowed, "Only an administrator's key has a role."})
	case k.Admin != "" && !isRole:
		c.reject("/role", &fault{CodeInvalidValue, "The role is viewer or operator."})
	}
	c.label("/label", k.Label)
	c.expiry(k.ExpiresAt, now)
	return c.wrong
}

// someScopes checks the scopes of a key that can do nothing without one.
func (c *checker) someScopes(scopes, allowed []string) {
	if len(scopes) == 0 {
		c.reject("/scopes", &fault{CodeMustBeSet, "A key without scopes could do nothing."})
	}
	c.scopes(scopes, allowed)
}

// natsHolder checks the name and the scopes of a key for NATS.
func (c *checker) natsHolder(field, name string, scopes []string) {
	if !natsName.MatchString(name) || strings.HasPrefix(name, ownPrefix) {
		c.reject(field, &fault{CodeInvalidFormat, "The name can have 64 of a-z, 0-9, _ and -, begins with a letter or digit, and not with konto-."})
	}
	if len(scopes) > 0 {
		c.reject("/scopes", &fault{CodeNotAllowed, "A key for NATS has no scopes."})
	}
}

// withDefaults sets the defaults that OpenSession documents.
func withDefaults(s events.SessionOpened) events.SessionOpened {
	if s.AuthType == "" {
		s.AuthType = "session"
		if s.Admin != "" {
			s.AuthType = "admin"
		}
	}
	if s.Scopes == nil {
		s.Scopes = slices.Clone(AccountScopes)
	}
	return s
}

// checkSession returns what is wrong with a session that is opened now.
func checkSession(s events.SessionOpened, now time.Time) []FieldError {
	var c checker
	if s.Account.IsZero() && s.Admin == "" {
		c.reject("/account", &fault{CodeMustBeSet, "A session belongs to an account, an administrator or both."})
	}
	if !slices.Contains(authTypes, s.AuthType) {
		c.reject("/authType", &fault{CodeInvalidValue, "The type is one of session, admin, bankid-selection and billing-sso."})
	}
	c.scopes(s.Scopes, AccountScopes)
	c.label("/admin", s.Admin)
	if s.Admin == "" && len(s.Roles) > 0 {
		c.reject("/roles", &fault{CodeNotAllowed, "Only an administrator's session has roles."})
	}
	for _, role := range s.Roles {
		c.label("/roles", role)
	}
	if s.Admin == "" && s.AuthType == "admin" {
		c.reject("/authType", &fault{CodeNotAllowed, "Only an administrator's session has the type admin."})
	}
	if !s.Parent.IsZero() && !s.Account.IsZero() && s.Label == "" {
		c.reject("/label", &fault{CodeMustBeSet, "A delegated session has a label."})
	}
	if s.Account.IsZero() && !s.Parent.IsZero() {
		c.reject("/parent", &fault{CodeNotAllowed, "Only an account's session can be delegated."})
	}
	if s.Parent.IsZero() && s.Label != "" {
		c.reject("/label", &fault{CodeNotAllowed, "Only a delegated session has a label."})
	}
	c.label("/label", s.Label)
	c.expiry(s.ExpiresAt, now)
	return c.wrong
}

// expiry checks when a credential expires, if it does.
func (c *checker) expiry(at, now time.Time) {
	if !at.IsZero() && !at.After(now) {
		c.reject("/expiresAt", &fault{CodeInvalidValue, "That time has passed already."})
	}
}

// scopes checks that each scope is allowed.
func (c *checker) scopes(given, allowed []string) {
	for _, scope := range given {
		if !slices.Contains(allowed, scope) {
			c.reject("/scopes", &fault{CodeInvalidValue, "The scope is not one that this kind of credential can have."})
		}
	}
}

// label checks a name that people read. It is stored as given, so it is refused if text would
// change it.
func (c *checker) label(field, name string) {
	if name == "" {
		return
	}
	stored, wrong := text(name)
	if wrong == nil && (stored != name || len([]rune(name)) > maxName) {
		wrong = &fault{CodeInvalidFormat, "The name can have 64 characters, without white space around it."}
	}
	if wrong != nil {
		c.reject(field, wrong)
	}
}
