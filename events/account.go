package events

import (
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/oklog/ulid/v2"
)

// AccountOpened is the first event of an account's stream.
type AccountOpened struct {
	Email         string         `json:"email" jsonschema:"The account's email address. Unique."`
	PaywayID      string         `json:"paywayId" jsonschema:"Payway's id of the account. Unique."` // 24 hex digits
	Administrator bool           `json:"administrator,omitzero" jsonschema:"Whether the account is an administrator's. Absent: no."`
	Profile       ProfileUpdated `json:"profile,omitzero" jsonschema:"The profile, as changes to an empty one."`
}

// EmailChanged records a new email address of the account.
type EmailChanged struct {
	PreviousEmail string `json:"previousEmail" jsonschema:"The address until now."`
	NewEmail      string `json:"newEmail" jsonschema:"The address from now on. Unique."`
	How           string `json:"how" jsonschema:"direct: set by a caller that may set it. verified: confirmed with the code that the user asked for."`
}

// How an email address came to be changed.
const (
	EmailDirect   = "direct"   // set by a caller that may set it; the user is not notified
	EmailVerified = "verified" // confirmed with the code that the user asked for
)

// EmailChangeRequested records that the user requested another email address. It becomes the
// account's address when the code that is mailed there is confirmed.
type EmailChangeRequested struct {
	NewEmail  string    `json:"newEmail"`
	Request   ulid.ULID `json:"request"`  // the request's id, from which the code is made with a key of the keyring
	CodeHash  []byte    `json:"codeHash"` // keyed hash; never published
	ExpiresAt time.Time `json:"expiresAt"`
}

// EmailChangeCancelled records that the pending request was cancelled.
type EmailChangeCancelled struct {
	NewEmail string `json:"newEmail" jsonschema:"The requested address."`
}

// EmailChangeAttemptFailed records that a wrong code was tried. The code is not stored, because
// it may be the right one of another request.
type EmailChangeAttemptFailed struct {
	Request ulid.ULID `json:"request" jsonschema:"The request that the code was tried for."`
}

// PasswordChanged records a new password. Its hash is never published. The event ends all
// sessions of the account except Session. The sessions have no events of their own for this, so
// a crash cannot leave some of them valid.
type PasswordChanged struct {
	Hash    string    `json:"hash"`             // argon2id in PHC string format
	Session ulid.ULID `json:"session,omitzero"` // the session that stays valid, if any
}

// FactsRecorded records what other systems know of the account. Absent members are unchanged.
type FactsRecorded struct {
	ActiveDomains *int           `json:"activeDomains,omitzero" jsonschema:"How many active domains the account has."`
	SeNuDomains   *int           `json:"seNuDomains,omitzero" jsonschema:"How many of them are under .se and .nu."`
	PendingOrder  Change[string] `json:"pendingOrder,omitzero" jsonschema:"The pending order. null: none."`
	Verified      *bool          `json:"verified,omitzero" jsonschema:"Whether the identity is verified, by BankID or the like."`
	BankIDName    Change[string] `json:"bankidName,omitzero" jsonschema:"The name according to BankID. null: none."`
}

// Identity names a user of an outside identity provider.
type Identity struct {
	Issuer  string `json:"issuer"`  // the iss of the provider's tokens
	Subject string `json:"subject"` // the sub of the user's tokens; it may be an email address
}

// IdentityLinked records that tokens of an identity count as tokens of the account. The identity
// is never published, because it may be personal data.
type IdentityLinked Identity

// IdentityUnlinked records that tokens of a linked identity do not count any more. The identity is
// never published.
type IdentityUnlinked Identity

// AccountErased ends an account's stream. It has no personal data and stays readable after the
// account's key is destroyed.
type AccountErased struct{}

func (AccountOpened) storedName() string            { return TypeAccountOpened }
func (EmailChanged) storedName() string             { return TypeEmailChanged }
func (EmailChangeRequested) storedName() string     { return TypeEmailChangeRequested }
func (EmailChangeCancelled) storedName() string     { return TypeEmailChangeCancelled }
func (EmailChangeAttemptFailed) storedName() string { return TypeEmailChangeAttemptFailed }
func (PasswordChanged) storedName() string          { return TypePasswordChanged }
func (FactsRecorded) storedName() string            { return TypeFactsRecorded }
func (IdentityLinked) storedName() string           { return TypeIdentityLinked }
func (IdentityUnlinked) storedName() string         { return TypeIdentityUnlinked }
func (AccountErased) storedName() string            { return TypeAccountErased }

// Account is the state of an account, folded from its events. All contracts share it. The zero
// Account was never opened.
type Account struct {
	ID            ulid.ULID `json:"id"`
	PaywayID      string    `json:"paywayId"`
	Email         string    `json:"email,omitzero"`
	Administrator bool      `json:"administrator,omitzero"`
	Erased        bool      `json:"erased,omitzero"`
	// Shredded means that the account's key was destroyed, although the log has no
	// AccountErased, because an older log was restored. Erased is true too.
	Shredded     bool         `json:"shredded,omitzero"`
	Profile      Profile      `json:"profile,omitzero"`
	Facts        Facts        `json:"facts,omitzero"`
	EmailChange  PendingEmail `json:"emailChange,omitzero"`
	PasswordHash string       `json:"passwordHash,omitzero"`
	Identities   []Identity   `json:"identities,omitempty"` // linked ones; states share the array
	Opened       time.Time    `json:"opened"`
	Updated      time.Time    `json:"updated"` // of the last event
	Version      uint64       `json:"version"`
	Position     uint64       `json:"position"` // of the last event
}

// Facts is what other systems know of the account.
type Facts struct {
	ActiveDomains int    `json:"activeDomains,omitzero"`
	SeNuDomains   int    `json:"seNuDomains,omitzero"`
	PendingOrder  string `json:"pendingOrder,omitzero"`
	Verified      bool   `json:"verified,omitzero"`
	BankIDName    string `json:"bankidName,omitzero"`
}

// PendingEmail is the last email change that the user requested.
type PendingEmail struct {
	NewEmail  string    `json:"newEmail,omitzero"` // "" if none is pending
	Request   ulid.ULID `json:"request,omitzero"`
	CodeHash  []byte    `json:"codeHash,omitzero"`
	ExpiresAt time.Time `json:"expiresAt,omitzero"`
	Failed    int       `json:"failed,omitzero"` // how many wrong codes were tried
	// Verified means that the account's present address was confirmed with a code.
	Verified bool `json:"verified,omitzero"`
	// Recent is kept when a request ends, so that a new request gives no new tries.
	Recent EmailTries `json:"recent,omitzero"`
}

// EmailTries counts requests and wrong codes in the hour that begins with a request.
type EmailTries struct {
	Since    time.Time `json:"since"`
	Requests int       `json:"requests"`
	Failed   int       `json:"failed,omitzero"`
}

// EmailTriesFor is the span of time in which requests and wrong codes are counted.
const EmailTriesFor = time.Hour

// At is the count at a point in time: zero when the hour is over.
func (t EmailTries) At(now time.Time) EmailTries {
	if now.Before(t.Since.Add(EmailTriesFor)) {
		return t
	}
	return EmailTries{Since: now}
}

func (t EmailTries) requested(at time.Time) EmailTries {
	t = t.At(at)
	t.Requests++
	return t
}

// Pending reports whether an email change waits for its code at a point in time.
func (e *PendingEmail) Pending(at time.Time) bool { return e.NewEmail != "" && at.Before(e.ExpiresAt) }

// Exists reports whether the account was opened and not erased.
func (a *Account) Exists() bool { return a.Version > 0 && !a.Erased }

// Apply applies the account's next event, whose payload is p. It never fails, because the event
// has happened. Payloads of other streams change nothing.
func (a *Account) Apply(e Event, p Payload) {
	switch p := p.(type) {
	case AccountOpened:
		_, a.ID, _ = e.Stream.Split()
		a.Email, a.PaywayID, a.Administrator = p.Email, p.PaywayID, p.Administrator
		p.Profile.apply(&a.Profile)
		a.Opened = e.Time
	case ProfileUpdated:
		p.apply(&a.Profile)
	case EmailChanged:
		a.Email = p.NewEmail
		a.EmailChange = PendingEmail{Verified: p.How == EmailVerified, Recent: a.EmailChange.Recent}
	case EmailChangeRequested:
		a.EmailChange = PendingEmail{
			NewEmail: p.NewEmail, Request: p.Request, CodeHash: p.CodeHash, ExpiresAt: p.ExpiresAt,
			Verified: a.EmailChange.Verified, Recent: a.EmailChange.Recent.requested(e.Time),
		}
	case EmailChangeAttemptFailed:
		a.EmailChange.Failed++
		a.EmailChange.Recent.Failed++
	case EmailChangeCancelled:
		a.EmailChange = PendingEmail{Verified: a.EmailChange.Verified, Recent: a.EmailChange.Recent}
	case PasswordChanged:
		a.PasswordHash = p.Hash
	case FactsRecorded:
		p.apply(&a.Facts)
	case IdentityLinked:
		a.Identities = append(slices.Clip(a.Identities), Identity(p))
	case IdentityUnlinked:
		a.Identities = slices.DeleteFunc(slices.Clone(a.Identities), func(i Identity) bool { return i == Identity(p) })
	case AccountErased:
		*a = Account{ID: a.ID, Opened: a.Opened, Erased: true}
	case Shredded:
		a.shred(e)
	default:
		return
	}
	a.Updated, a.Version, a.Position = e.Time, e.Version, e.Position
}

func (f FactsRecorded) apply(to *Facts) {
	if f.ActiveDomains != nil {
		to.ActiveDomains = *f.ActiveDomains
	}
	if f.SeNuDomains != nil {
		to.SeNuDomains = *f.SeNuDomains
	}
	if f.Verified != nil {
		to.Verified = *f.Verified
	}
	f.PendingOrder.apply(&to.PendingOrder)
	f.BankIDName.apply(&to.BankIDName)
}

// Encode returns the bytes that the read model stores.
func (a *Account) Encode() ([]byte, error) { return json.Marshal(a) }
