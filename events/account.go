package events

import (
	"time"

	"github.com/oklog/ulid/v2"
)

// Payload is what one event says. Its types are the structs of this package
// that codec.go names, and Shredded; each is a value, never a pointer.
type Payload interface{ payload() }

// AccountOpened begins an account's stream.
type AccountOpened struct {
	Email         string         `json:"email"`
	PaywayID      string         `json:"paywayId"` // 24 hex digits, unique
	Administrator bool           `json:"administrator,omitzero"`
	Profile       ProfileUpdated `json:"profile,omitzero"` // seen as changes to an empty profile
}

// EmailChanged records that the account's email address is another one from now on.
type EmailChanged struct {
	PreviousEmail string `json:"previousEmail"`
	NewEmail      string `json:"newEmail"`
	How           string `json:"how"` // EmailDirect or EmailVerified
}

// How an email address came to be changed.
const (
	EmailDirect   = "direct"   // set by a caller who may set it; the user is not notified
	EmailVerified = "verified" // confirmed with the code that the user asked for
)

// EmailChangeRequested records that the user asked for another address, which
// takes effect once the code mailed there is confirmed.
type EmailChangeRequested struct {
	NewEmail  string    `json:"newEmail"`
	Request   ulid.ULID `json:"request"`  // names the request; whoever has the keyring can make the code from it
	CodeHash  []byte    `json:"codeHash"` // keyed hash; never published
	ExpiresAt time.Time `json:"expiresAt"`
}

// EmailChangeCancelled withdraws the pending request.
type EmailChangeCancelled struct {
	NewEmail string `json:"newEmail"`
}

// EmailChangeAttemptFailed records that a wrong code was tried. The code is not
// kept: it may be the right one of another request.
type EmailChangeAttemptFailed struct {
	Request ulid.ULID `json:"request"`
}

// PasswordChanged records a new password. Its hash is never published. It ends
// every session of the account but the one in which the password was changed;
// no event of a session says so again, so no crash can come in between.
type PasswordChanged struct {
	Hash    string    `json:"hash"`             // argon2id in PHC string format
	Session ulid.ULID `json:"session,omitzero"` // the session that goes on, if any
}

// FactsRecorded holds what other systems know of the account; absent members
// are unchanged.
type FactsRecorded struct {
	ActiveDomains *int           `json:"activeDomains,omitzero"`
	SeNuDomains   *int           `json:"seNuDomains,omitzero"` // active domains under .se and .nu
	PendingOrder  Change[string] `json:"pendingOrder,omitzero"`
	Verified      *bool          `json:"verified,omitzero"` // the identity, by BankID or the like
	BankIDName    Change[string] `json:"bankidName,omitzero"`
}

// AccountErased ends an account's stream. It holds no personal data and stays
// readable when the account's key is gone.
type AccountErased struct{}

func (AccountOpened) payload()            {}
func (EmailChanged) payload()             {}
func (EmailChangeRequested) payload()     {}
func (EmailChangeCancelled) payload()     {}
func (EmailChangeAttemptFailed) payload() {}
func (PasswordChanged) payload()          {}
func (FactsRecorded) payload()            {}
func (AccountErased) payload()            {}
