package events

import (
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// Account is what an account's events add up to: one state for all contracts.
// The zero Account is one that was never opened.
type Account struct {
	ID            ulid.ULID `json:"id"`
	PaywayID      string    `json:"paywayId"`
	Email         string    `json:"email,omitzero"`
	Administrator bool      `json:"administrator,omitzero"`
	Erased        bool      `json:"erased,omitzero"`
	// Shredded tells that the account counts as erased because its key was
	// destroyed, while no AccountErased says so: an older log was restored.
	Shredded     bool         `json:"shredded,omitzero"`
	Profile      Profile      `json:"profile,omitzero"`
	Facts        Facts        `json:"facts,omitzero"`
	EmailChange  PendingEmail `json:"emailChange,omitzero"`
	PasswordHash string       `json:"passwordHash,omitzero"`
	Opened       time.Time    `json:"opened"`
	Updated      time.Time    `json:"updated"` // of the last event
	Version      uint64       `json:"version"`
	Position     uint64       `json:"position"` // of the last event
}

// Facts is what other systems told of the account.
type Facts struct {
	ActiveDomains int    `json:"activeDomains,omitzero"`
	SeNuDomains   int    `json:"seNuDomains,omitzero"`
	PendingOrder  string `json:"pendingOrder,omitzero"`
	Verified      bool   `json:"verified,omitzero"`
	BankIDName    string `json:"bankidName,omitzero"`
}

// PendingEmail is the last change of address that the user asked for.
type PendingEmail struct {
	NewEmail  string    `json:"newEmail,omitzero"` // "" when none is pending
	Request   ulid.ULID `json:"request,omitzero"`
	CodeHash  []byte    `json:"codeHash,omitzero"`
	ExpiresAt time.Time `json:"expiresAt,omitzero"`
	Failed    int       `json:"failed,omitzero"` // how many wrong codes were tried
	// Verified tells that the account's present address was confirmed by a code.
	Verified bool `json:"verified,omitzero"`
	// Recent outlives the single request, so that asking again gives no new tries.
	Recent EmailTries `json:"recent,omitzero"`
}

// EmailTries counts requests and wrong codes in the hour that begins with a request.
type EmailTries struct {
	Since    time.Time `json:"since"`
	Requests int       `json:"requests"`
	Failed   int       `json:"failed,omitzero"`
}

// EmailTriesFor is how long requests and wrong codes are counted together.
const EmailTriesFor = time.Hour

// At is what counts at a point in time: nothing once the hour is over.
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

// Pending tells whether a change of address waits for its code at a point in time.
func (e *PendingEmail) Pending(at time.Time) bool { return e.NewEmail != "" && at.Before(e.ExpiresAt) }

// Exists tells whether the account was opened and not erased.
func (a *Account) Exists() bool { return a.Version > 0 && !a.Erased }

// Apply adds the account's next event, whose payload is p. It never rejects:
// the fact has happened. Payloads of other streams change nothing.
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

// Claim is a key that at most one account holds at a time.
type Claim struct {
	Kind  string // one of the Claim constants
	Value string // folded: equal for values that must not coexist
}

// The kinds of claims.
const (
	ClaimEmail                = "email"
	ClaimPaywayID             = "payway-id"
	ClaimSocialSecurityNumber = "social-security-number"
	ClaimCustomerNumber       = "customer-number"
)

// PaywayIDClaim is the claim on a Payway id, whose hex digits have no case.
func PaywayIDClaim(id string) Claim { return Claim{ClaimPaywayID, strings.ToLower(id)} }

// CenturyImplied tells whether a Swedish person who was born in that year has a
// number that is stored without its century. The hundred years never move, so
// what is stored means the same for ever; they end with the year in which konto
// began to keep centuries. Numbers of people born before or after have twelve digits.
func CenturyImplied(year int) bool { return 1927 <= year && year <= 2026 }

// SocialSecurityNumberClaim is the claim on Payway's social security number in a
// form in which it is stored: dddddd-dddd or twelve digits. Where the century is
// implied it is left out, because 198505073412 and 850507-3412 are one person's.
// 191212121212 and 121212-1212 are two.
func SocialSecurityNumberClaim(ssn string) Claim {
	digits := strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return r
		}
		return -1
	}, ssn)
	if len(digits) == 12 {
		// 16 is what authorities write in front of an organisation's number.
		if year, _ := strconv.Atoi(digits[:4]); CenturyImplied(year) || year/100 == 16 {
			digits = digits[2:]
		}
	}
	return Claim{ClaimSocialSecurityNumber, digits}
}

// CustomerNumberClaim is the claim on a customer number. It is another system's,
// so every character counts.
func CustomerNumberClaim(number string) Claim { return Claim{ClaimCustomerNumber, number} }

// Claims lists the keys that the account holds. They follow from its state, so
// what an append must take and release is the difference of two states.
func (a *Account) Claims() []Claim {
	var claims []Claim
	if a.Email != "" {
		claims = append(claims, EmailClaim(a.Email))
	}
	if a.PaywayID != "" {
		claims = append(claims, PaywayIDClaim(a.PaywayID))
	}
	if a.Profile.SocialSecurityNumber != "" {
		claims = append(claims, SocialSecurityNumberClaim(a.Profile.SocialSecurityNumber))
	}
	if a.Profile.CustomerNumber != "" {
		claims = append(claims, CustomerNumberClaim(a.Profile.CustomerNumber))
	}
	return claims
}
