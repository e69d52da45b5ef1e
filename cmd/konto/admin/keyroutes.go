package admin

import (
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	kontohttp "konto/http"
)

// credentialRoutes returns the routes of keys, or those of sessions.
func (k *Konto) credentialRoutes(kind CredentialKind) []kontohttp.Route {
	all := "/" + string(kind) + "s"
	one, end, issue := all+"/{id}", "/revoke", create(all, k.issueKey)
	if kind == Session {
		end, issue = "/close", create(all, k.openSession)
	}
	return []kontohttp.Route{
		get(all, func(r *request) (Page[Credential], error) {
			given, limit, err := paging(r, "account")
			if err != nil {
				return Page[Credential]{}, err
			}
			f := CredentialFilter{Kind: kind}
			if id, ok := given["account"]; ok {
				if f.Account, err = k.byID(r, id); err != nil {
					return Page[Credential]{}, err
				}
			}
			return k.ListCredentials(r.Context(), f, given["after"], limit)
		}),
		issue,
		get(one, func(r *request) (Credential, error) {
			id, err := kind.idOf(r)
			if err != nil {
				return Credential{}, err
			}
			return k.Credential(r.Context(), kind, id)
		}),
		act(one+end, func(r *request) (Revoked, error) {
			id, err := kind.idOf(r)
			if err != nil {
				return Revoked{}, err
			}
			return k.Revoke(r.Context(), r.Metadata(), kind, id)
		}),
	}
}

// idOf returns the id of the credential of a request's path.
func (kind CredentialKind) idOf(r *request) (ulid.ULID, error) {
	id, err := ulid.ParseStrict(r.Param("id"))
	if err != nil {
		return id, missing("this is not the id of a " + string(kind))
	}
	return id, nil
}

// issueKey issues a key. The account may be given by any of its ids, or by its address.
func (k *Konto) issueKey(r *request) (IssuedKey, error) {
	var body struct {
		Account   string    `json:"account"`
		Client    string    `json:"client"`
		Consumer  string    `json:"consumer"`
		Inbound   string    `json:"inbound"`
		Admin     string    `json:"admin"`
		Role      string    `json:"role"`
		Scopes    []string  `json:"scopes"`
		Label     string    `json:"label"`
		ExpiresAt time.Time `json:"expiresAt"`
	}
	if err := r.Read(&body); err != nil {
		return IssuedKey{}, err
	}
	account, err := k.optional(r, body.Account)
	if err != nil {
		return IssuedKey{}, err
	}
	return k.IssueKey(r.Context(), r.Metadata(), events.KeyIssued{
		Account: account, Client: body.Client, Consumer: body.Consumer, Inbound: body.Inbound, Admin: body.Admin, Role: body.Role,
		Scopes: body.Scopes, Label: body.Label, ExpiresAt: body.ExpiresAt,
	})
}

// sessionLife is how long a session lasts if nothing else is asked for.
const sessionLife = 24 * time.Hour

// openSession opens a session. The accounts may be given by any of their ids, or by their addresses.
func (k *Konto) openSession(r *request) (OpenedSession, error) {
	var body struct {
		Account     string    `json:"account"`
		AuthType    string    `json:"authType"`
		Admin       string    `json:"admin"`
		Roles       []string  `json:"roles"`
		DelegatedBy string    `json:"delegatedBy"`
		Label       string    `json:"label"`
		Scopes      []string  `json:"scopes"`
		ExpiresAt   time.Time `json:"expiresAt"`
	}
	if err := r.Read(&body); err != nil {
		return OpenedSession{}, err
	}
	account, err := k.optional(r, body.Account)
	if err != nil {
		return OpenedSession{}, err
	}
	parent, err := k.optional(r, body.DelegatedBy)
	if err != nil {
		return OpenedSession{}, err
	}
	if body.ExpiresAt.IsZero() {
		body.ExpiresAt = time.Now().Add(sessionLife)
	}
	return k.OpenSession(r.Context(), r.Metadata(), events.SessionOpened{
		Account: account, AuthType: body.AuthType, Admin: body.Admin, Roles: body.Roles, Parent: parent, Label: body.Label,
		Scopes: body.Scopes, ExpiresAt: body.ExpiresAt.UTC().Truncate(time.Millisecond),
	})
}

// optional returns the account that a member of a body means, none if it is "".
func (k *Konto) optional(r *request, ref string) (id ulid.ULID, err error) {
	if ref != "" {
		id, err = k.FindID(r.Context(), ref)
	}
	return id, err
}
