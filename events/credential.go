package events

import (
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// KeyIssued is the first event of a bearer token's stream. Exactly one of Account, Client, Consumer,
// Inbound and Admin is set.
type KeyIssued struct {
	Account    ulid.ULID `json:"account,omitzero"`  // acts as this account (HostUp, generic)
	Client     string    `json:"client,omitzero"`   // acts as this client, on any account (Payway)
	Consumer   string    `json:"consumer,omitzero"` // may subscribe on NATS, nothing else
	Inbound    string    `json:"inbound,omitzero"`  // may send facts on NATS, nothing else
	Admin      string    `json:"admin,omitzero"`    // administers konto over HTTP, nothing else
	Role       string    `json:"role,omitzero"`     // of Admin: RoleViewer or RoleOperator
	Scopes     []string  `json:"scopes,omitzero"`
	Label      string    `json:"label,omitzero"` // what the key is for, for people
	ExpiresAt  time.Time `json:"expiresAt,omitzero"`
	SecretHash []byte    `json:"secretHash"` // SHA-256 of the token's 256-bit secret
}

// The roles of a key that administers konto.
const (
	RoleViewer   = "viewer"   // reads
	RoleOperator = "operator" // does everything
)

// SessionOpened is the first event of a dashboard session's stream (hostup_session).
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

// CredentialRevoked ends a credential's stream: a key was revoked or a session closed.
type CredentialRevoked struct{}

func (KeyIssued) storedName() string         { return TypeKeyIssued }
func (SessionOpened) storedName() string     { return TypeSessionOpened }
func (CredentialRevoked) storedName() string { return TypeCredentialRevoked }

// Credential is the state of a credential, folded from its events.
type Credential struct {
	ID         ulid.ULID `json:"id"`
	Kind       string    `json:"kind"` // KindKey, KindClient, KindConsumer, KindInbound, KindAdmin or KindSession
	Account    ulid.ULID `json:"account,omitzero"`
	Name       string    `json:"name,omitzero"` // of the client, the consumer, the system that sends facts, or the holder of a key of KindAdmin
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
	KindConsumer = "consumer" // of a NATS consumer
	KindInbound  = "inbound"  // of a system that sends facts over NATS
	KindAdmin    = "admin"    // administers konto over HTTP; its one role is in Roles
	KindSession  = "session"  // a dashboard session
)

// Apply applies the credential's next event, whose payload is p.
func (c *Credential) Apply(e Event, p Payload) {
	switch p := p.(type) {
	case KeyIssued:
		_, c.ID, _ = e.Stream.Split()
		c.Kind, c.Account, c.Scopes, c.SecretHash, c.Issued = KindKey, p.Account, p.Scopes, p.SecretHash, e.Time
		c.AuthType, c.Label, c.ExpiresAt = "api-key", p.Label, p.ExpiresAt
		if p.Client != "" {
			c.Kind, c.Name = KindClient, p.Client
		}
		if p.Consumer != "" {
			c.Kind, c.Name = KindConsumer, p.Consumer
		}
		if p.Inbound != "" {
			c.Kind, c.Name = KindInbound, p.Inbound
		}
		if p.Admin != "" {
			c.Kind, c.Name, c.Roles = KindAdmin, p.Admin, []string{p.Role}
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

// Usable reports whether the credential is valid at a point in time.
func (c *Credential) Usable(at time.Time) bool {
	return c.Version > 0 && c.Revoked.IsZero() && (c.ExpiresAt.IsZero() || at.Before(c.ExpiresAt))
}

// ErrMalformedToken is returned by ParseToken for a text that is no token of konto.
var ErrMalformedToken = errors.New("malformed token")

// SecretSize is the length of a token's secret in bytes. Because the secret is random and long, a
// plain hash of it is stored.
const SecretSize = 32

const tokenPrefix = "konto_"

// tokenSize is a token's length: the secret is 52 digits of five bits.
const tokenSize = len(tokenPrefix) + ulid.EncodedSize + 1 + (SecretSize*8+4)/5

var tokenEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Token returns the text that a credential's holder sends: konto_, the credential's ULID in lower
// case, an underscore and the secret.
func Token(id ulid.ULID, secret [SecretSize]byte) string {
	return string(appendToken(make([]byte, 0, tokenSize), id, secret))
}

func appendToken(to []byte, id ulid.ULID, secret [SecretSize]byte) []byte {
	var name [ulid.EncodedSize]byte
	_ = id.MarshalTextTo(name[:]) // fails only for another size
	to = append(to, tokenPrefix...)
	for _, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		to = append(to, c)
	}
	return tokenEncoding.AppendEncode(append(to, '_'), secret[:])
}

// HashSecret returns the form in which a secret is stored.
func HashSecret(secret [SecretSize]byte) []byte {
	h := sha256.Sum256(secret[:])
	return h[:]
}

// ParseToken returns the credential's id and the hash of its secret.
func ParseToken(token string) (id ulid.ULID, secretHash []byte, err error) {
	rest, ok := strings.CutPrefix(token, tokenPrefix)
	if !ok || len(token) != tokenSize {
		return id, nil, ErrMalformedToken
	}
	if id, err = ulid.ParseStrict(rest[:ulid.EncodedSize]); err != nil {
		return id, nil, ErrMalformedToken
	}
	var secret [SecretSize]byte
	if _, err = tokenEncoding.Decode(secret[:], []byte(rest[ulid.EncodedSize+1:])); err != nil {
		return id, nil, ErrMalformedToken
	}
	// A token has one spelling, but the decoders ignore case, line ends and spare bits.
	var spelled [tokenSize]byte // on the stack, because each request parses a token
	if string(appendToken(spelled[:0], id, secret)) != token {
		return id, nil, ErrMalformedToken
	}
	return id, HashSecret(secret), nil
}
