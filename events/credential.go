package events

import (
	"time"

	"github.com/oklog/ulid/v2"
)

// KeyIssued begins the stream of a bearer token. Exactly one of Account,
// Client, Consumer and Inbound is set.
type KeyIssued struct {
	Account    ulid.ULID `json:"account,omitzero"`  // acts as this account (HostUp, generic)
	Client     string    `json:"client,omitzero"`   // acts as this client, on any account (Payway)
	Consumer   string    `json:"consumer,omitzero"` // may subscribe on NATS, nothing else
	Inbound    string    `json:"inbound,omitzero"`  // may send facts on NATS, nothing else
	Scopes     []string  `json:"scopes,omitzero"`
	SecretHash []byte    `json:"secretHash"` // SHA-256 of the token's 256-bit secret
}

// SessionOpened begins the stream of a dashboard session (hostup_session).
type SessionOpened struct {
	Account    ulid.ULID `json:"account,omitzero"` // zero: an administrator who impersonates nobody
	AuthType   string    `json:"authType"`         // session, admin, bankid-selection, billing-sso
	Scopes     []string  `json:"scopes,omitzero"`
	Admin      string    `json:"admin,omitzero"` // the administrator's user name
	Roles      []string  `json:"roles,omitzero"` // of the administrator
	Parent     ulid.ULID `json:"parent,omitzero"`
	Label      string    `json:"label,omitzero"` // of the delegated grant
	Grant      string    `json:"grant,omitzero"` // id of the delegated grant
	SecretHash []byte    `json:"secretHash"`
	ExpiresAt  time.Time `json:"expiresAt,omitzero"`
}

// CredentialRevoked ends a credential's stream: a key revoked, a session closed.
type CredentialRevoked struct{}

func (KeyIssued) payload()         {}
func (SessionOpened) payload()     {}
func (CredentialRevoked) payload() {}

// Credential is what a credential's events add up to.
type Credential struct {
	ID         ulid.ULID `json:"id"`
	Kind       string    `json:"kind"` // KindKey, KindClient, KindConsumer, KindInbound or KindSession
	Account    ulid.ULID `json:"account,omitzero"`
	Name       string    `json:"name,omitzero"` // of the client, the consumer or the system that sends facts
	Scopes     []string  `json:"scopes,omitzero"`
	AuthType   string    `json:"authType,omitzero"`
	Admin      string    `json:"admin,omitzero"`
	Roles      []string  `json:"roles,omitzero"`
	Parent     ulid.ULID `json:"parent,omitzero"`
	Label      string    `json:"label,omitzero"`
	Grant      string    `json:"grant,omitzero"`
	SecretHash []byte    `json:"secretHash"`
	Issued     time.Time `json:"issued"`
	ExpiresAt  time.Time `json:"expiresAt,omitzero"`
	Revoked    time.Time `json:"revoked,omitzero"`
	Version    uint64    `json:"version"`
}

// The kinds of credential.
const (
	KindKey      = "key"      // an API key of one account
	KindClient   = "client"   // a token of a client, without an account
	KindConsumer = "consumer" // a NATS consumer's
	KindInbound  = "inbound"  // a system's that sends facts over NATS
	KindSession  = "session"  // a dashboard session
)

// Apply adds the credential's next event, whose payload is p.
func (c *Credential) Apply(e Event, p Payload) {
	switch p := p.(type) {
	case KeyIssued:
		_, c.ID, _ = e.Stream.Split()
		c.Kind, c.Account, c.Scopes, c.SecretHash, c.Issued = KindKey, p.Account, p.Scopes, p.SecretHash, e.Time
		c.AuthType = "api-key"
		if p.Client != "" {
			c.Kind, c.Name = KindClient, p.Client
		}
		if p.Consumer != "" {
			c.Kind, c.Name = KindConsumer, p.Consumer
		}
		if p.Inbound != "" {
			c.Kind, c.Name = KindInbound, p.Inbound
		}
	case SessionOpened:
		_, c.ID, _ = e.Stream.Split()
		c.Kind, c.Account, c.Scopes, c.SecretHash, c.Issued = KindSession, p.Account, p.Scopes, p.SecretHash, e.Time
		c.AuthType, c.Admin, c.Roles, c.ExpiresAt = p.AuthType, p.Admin, p.Roles, p.ExpiresAt
		c.Parent, c.Label, c.Grant = p.Parent, p.Label, p.Grant
	case CredentialRevoked:
		c.Revoked = e.Time
	case Shredded:
		c.shred(e)
	default:
		return
	}
	c.Version = e.Version
}

// Usable tells whether the credential may be used at a point in time.
func (c *Credential) Usable(at time.Time) bool {
	return c.Version > 0 && c.Revoked.IsZero() && (c.ExpiresAt.IsZero() || at.Before(c.ExpiresAt))
}
