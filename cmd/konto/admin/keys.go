package admin

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/datafolder"
	"konto/events"
)

// Credential is a key or a session for the operator: everything but its secret.
type Credential struct {
	ID       string    `json:"id"`
	Kind     string    `json:"kind"`
	State    string    `json:"state"` // usable, expired or revoked
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
	// LastUsed is zero if it was not used since this server started, or no server runs.
	LastUsed time.Time `json:"lastUsed,omitzero"`
}

func (k *Konto) credential(c events.Credential) Credential {
	shown := Credential{
		ID: c.ID.String(), Kind: c.Kind, State: "usable", Account: idOrNone(c.Account), Name: c.Name, Scopes: c.Scopes,
		AuthType: c.AuthType, Admin: c.Admin, Roles: c.Roles, Parent: idOrNone(c.Parent), Label: c.Label,
		Grant: c.Grant, Issued: c.Issued, Expires: c.ExpiresAt, Revoked: c.Revoked,
	}
	switch {
	case !c.Revoked.IsZero():
		shown.State = "revoked"
	case !c.Usable(time.Now()):
		shown.State = "expired"
	}
	if at, ok := k.Model.LastUse(c.ID); ok {
		shown.LastUsed = at.UTC().Truncate(time.Second)
	}
	return shown
}

func idOrNone(id ulid.ULID) string {
	if id.IsZero() {
		return ""
	}
	return id.String()
}

// CredentialKind says which credentials are meant: keys or sessions.
type CredentialKind string

// The kinds of credential for an operator.
const (
	Key     CredentialKind = "key"
	Session CredentialKind = "session"
)

func (kind CredentialKind) is(c events.Credential) bool {
	return (kind == Session) == (c.Kind == events.KindSession)
}

// CredentialFilter selects credentials.
type CredentialFilter struct {
	Kind    CredentialKind
	Account ulid.ULID // that they act for or that delegated them; zero: any
}

// mostScanned is how many rows of the read model are read for one page at most.
const mostScanned = 1000

// ListCredentials returns a page of credentials with ids after one, in order of id, revoked ones
// included.
func (k *Konto) ListCredentials(ctx context.Context, f CredentialFilter, after string, limit int) (Page[Credential], error) {
	page := Page[Credential]{Items: []Credential{}}
	last, err := idCursor(after)
	if err == nil {
		err = k.CatchUp(ctx)
	}
	if err != nil {
		return page, err
	}
	for range mostScanned / datafolder.PageSize {
		rows, end, err := k.credentialRows(ctx, f.Account, last)
		if err != nil {
			return page, err
		}
		for _, c := range rows {
			if f.Kind.is(c) {
				if len(page.Items) == limit {
					page.Next = last.String()
					return page, nil
				}
				page.Items = append(page.Items, k.credential(c))
			}
			last = c.ID
		}
		if end {
			return page, nil
		}
	}
	page.Next = last.String()
	return page, nil
}

// credentialRows reads credentials with ids after one. end says that no more follow.
func (k *Konto) credentialRows(ctx context.Context, account, after ulid.ULID) (rows []events.Credential, end bool, err error) {
	if account.IsZero() {
		rows, err = k.Model.Credentials(ctx, after, datafolder.PageSize)
		return rows, len(rows) < datafolder.PageSize, err
	}
	ids, err := k.Model.CredentialsOf(ctx, account)
	ids = slices.DeleteFunc(ids, func(id ulid.ULID) bool { return id.Compare(after) <= 0 })
	slices.SortFunc(ids, ulid.ULID.Compare)
	end = len(ids) <= datafolder.PageSize
	for _, id := range ids[:min(len(ids), datafolder.PageSize)] {
		if err != nil {
			return nil, false, err
		}
		var c events.Credential
		c, _, err = k.Model.Credential(ctx, id)
		rows = append(rows, c)
	}
	return rows, end, err
}

// idCursor reads the cursor of a list in order of id.
func idCursor(text string) (id ulid.ULID, err error) {
	if text == "" {
		return id, nil
	}
	if id, err = ulid.ParseStrict(text); err != nil {
		return id, invalid("after is not the id of an item, or the cursor of a page")
	}
	return id, nil
}

// Credential returns one key or session.
func (k *Konto) Credential(ctx context.Context, kind CredentialKind, id ulid.ULID) (Credential, error) {
	if err := k.CatchUp(ctx); err != nil {
		return Credential{}, err
	}
	c, ok, err := k.Model.Credential(ctx, id)
	switch {
	case err != nil:
		return Credential{}, err
	case !ok || !kind.is(c):
		return Credential{}, kind.missing(id)
	}
	return k.credential(c), nil
}

func (kind CredentialKind) missing(id ulid.ULID) error {
	return missing(fmt.Sprintf("there is no %s %s", kind, id))
}

// IssuedKey is a new key. Its token is shown only here.
type IssuedKey struct {
	ID           string `json:"id"`
	Token        string `json:"token"`
	ClientID     string `json:"clientId,omitempty"`
	ClientSecret string `json:"clientSecret,omitempty"`
}

// IssueKey issues a key, and returns when it can be used.
func (k *Konto) IssueKey(ctx context.Context, meta events.Metadata, spec events.KeyIssued) (IssuedKey, error) {
	known, err := k.Model.ConsumerNames(ctx)
	if err != nil {
		return IssuedKey{}, err
	}
	done, err := k.Credentials.IssueKey(ctx, meta, spec)
	if err != nil {
		return IssuedKey{}, err
	}
	issued := IssuedKey{ID: done.ID.String(), Token: done.Token}
	if spec.Client != "" {
		issued.ClientID, issued.ClientSecret = issued.ID, issued.Token
	}
	k.Acted(meta, "key issue", "key", issued.ID)
	if err := k.WaitFor(ctx, done.Position); err != nil {
		return issued, err
	}
	if spec.Consumer != "" && !slices.Contains(known, spec.Consumer) {
		err = k.Server.Reserve(spec.Consumer)
	}
	return issued, err
}

// OpenedSession is a new session. Its cookie is shown only here.
type OpenedSession struct {
	ID     string `json:"id"`
	Cookie string `json:"cookie"`
}

// OpenSession opens a session, and returns when it can be used.
func (k *Konto) OpenSession(ctx context.Context, meta events.Metadata, spec events.SessionOpened) (OpenedSession, error) {
	done, err := k.Credentials.OpenSession(ctx, meta, spec)
	if err != nil {
		return OpenedSession{}, err
	}
	k.Acted(meta, "session open", "session", done.ID.String())
	return OpenedSession{done.ID.String(), done.Token}, k.WaitFor(ctx, done.Position)
}

// Revoked says that a credential was revoked.
type Revoked struct {
	ID      string `json:"id"`
	Revoked bool   `json:"revoked"`
}

// Revoke revokes a credential of a kind, and returns when nobody can use it. It is no error if the
// credential was revoked before.
func (k *Konto) Revoke(ctx context.Context, meta events.Metadata, kind CredentialKind, id ulid.ULID) (Revoked, error) {
	var c events.Credential // from the log, which is never behind
	if err := k.Store.Fold(ctx, events.CredentialStream(id), math.MaxUint64, &c.Version, c.Apply); err != nil {
		return Revoked{}, err
	}
	if c.Version == 0 || !kind.is(c) {
		return Revoked{}, kind.missing(id)
	}
	position, err := k.Credentials.Revoke(ctx, meta, id)
	if err != nil {
		return Revoked{}, err
	}
	k.Acted(meta, string(kind)+" revoke", string(kind), id.String())
	if err := k.WaitFor(ctx, position); err != nil {
		return Revoked{}, err
	}
	k.Server.Disconnect(c)
	return Revoked{id.String(), true}, nil
}
