package events

import (
	"crypto/ed25519"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// ThirdPartyAdded begins the stream of a third party, which from then on is
// told of events by webhook. Its payload is encrypted, secrets included, and
// never published.
type ThirdPartyAdded struct {
	Name   string         `json:"name"` // unique among those that were not removed
	URL    string         `json:"url"`
	Format string         `json:"format"` // one of the Format constants
	Events []string       `json:"events"` // types without version, such as EmailChanged
	Secret WebhookSecrets `json:"secret"`
}

// WebhookSecrets is what deliveries are signed with (Standard Webhooks).
type WebhookSecrets struct {
	HMAC        []byte `json:"hmac"`        // signs v1; 24 to 64 random bytes, shared with the third party
	Ed25519Seed []byte `json:"ed25519Seed"` // signs v1a; 32 random bytes, known to konto alone
}

// ThirdPartySecretRotated records new secrets. Deliveries are signed with those
// before them too, until then at the latest.
type ThirdPartySecretRotated struct {
	Secret        WebhookSecrets `json:"secret"`
	PreviousUntil time.Time      `json:"previousUntil"`
}

// ThirdPartyPaused records that an operator holds deliveries back.
type ThirdPartyPaused struct{}

// ThirdPartyResumed records that deliveries go on from where they stopped.
type ThirdPartyResumed struct{}

// ThirdPartyDisabled records that konto itself stopped deliveries, until an
// operator resumes them.
type ThirdPartyDisabled struct {
	Reason string `json:"reason"` // one of the Disabled constants
}

// Why konto disables a third party.
const (
	DisabledGone      = "gone"      // its endpoint answered 410
	DisabledExhausted = "exhausted" // nothing it was sent succeeded during a whole retry schedule
)

// ThirdPartyCheckpointed records how far deliveries have come: everything up to
// the position was settled. It is appended now and then, so that the loss of
// what is kept beside the log costs repetitions, bounded, and never a delivery.
type ThirdPartyCheckpointed struct {
	Position uint64 `json:"position"`
}

// ThirdPartyRemoved ends a third party's stream.
type ThirdPartyRemoved struct{}

func (ThirdPartyAdded) payload()         {}
func (ThirdPartySecretRotated) payload() {}
func (ThirdPartyPaused) payload()        {}
func (ThirdPartyResumed) payload()       {}
func (ThirdPartyDisabled) payload()      {}
func (ThirdPartyCheckpointed) payload()  {}
func (ThirdPartyRemoved) payload()       {}

// The formats of deliveries.
const (
	FormatCloudEvents = "cloudevents" // CloudEvents 1.0, structured mode
	FormatPayway      = "payway"      // Payway's webhook shape
	FormatPaywaySSI   = "payway-ssi"  // Payway's subscription-system shape
	FormatRISC        = "risc"        // a signed Security Event Token (RFC 8417, OpenID RISC)
)

// The states of a third party.
const (
	ThirdPartyActive = "active"
	ThirdPartyHeld   = "paused"   // by an operator
	ThirdPartyFailed = "disabled" // by konto
	ThirdPartyGone   = "removed"
)

// ThirdParty is what a third party's events add up to.
type ThirdParty struct {
	ID     ulid.ULID      `json:"id"`
	Name   string         `json:"name"`
	URL    string         `json:"url"`
	Format string         `json:"format"`
	Events []string       `json:"events"`
	State  string         `json:"state"`
	Reason string         `json:"reason,omitzero"` // why it is disabled
	Secret WebhookSecrets `json:"secret"`
	// Previous are the secrets that sign too, newest first; see Secrets.
	Previous []RetiredSecrets `json:"previous,omitempty"`
	Added    time.Time        `json:"added"`
	// Begin is the position of its first event: it is told of what follows.
	Begin uint64 `json:"begin"`
	// Checkpoint is the last position that was recorded in the log as settled.
	Checkpoint uint64 `json:"checkpoint"`
	Version    uint64 `json:"version"`
	Position   uint64 `json:"position"` // of its last event

	// signingKeys are by the seed, nil before KeepSigningKeys. They are never changed.
	signingKeys map[string]func() ed25519.PrivateKey
}

// RetiredSecrets are secrets that were rotated out and sign a while longer.
type RetiredSecrets struct {
	WebhookSecrets
	Until time.Time `json:"until"`
}

// Apply adds the third party's next event, whose payload is p.
func (t *ThirdParty) Apply(e Event, p Payload) {
	switch p := p.(type) {
	case ThirdPartyAdded:
		_, t.ID, _ = e.Stream.Split()
		t.Name, t.URL, t.Format, t.Events, t.Secret = p.Name, p.URL, p.Format, p.Events, p.Secret
		t.State, t.Added, t.Begin, t.Checkpoint = ThirdPartyActive, e.Time, e.Position, e.Position
	case ThirdPartySecretRotated:
		t.Previous, t.Secret = t.retired(e.Time, p.PreviousUntil), p.Secret
	case ThirdPartyPaused:
		t.State, t.Reason = ThirdPartyHeld, ""
	case ThirdPartyResumed:
		t.State, t.Reason = ThirdPartyActive, ""
	case ThirdPartyDisabled:
		t.State, t.Reason = ThirdPartyFailed, p.Reason
	case ThirdPartyCheckpointed:
		t.Checkpoint = p.Position
	case ThirdPartyRemoved:
		t.State, t.Reason = ThirdPartyGone, ""
	case Shredded:
		t.shred(e)
	default:
		return
	}
	t.Version, t.Position = e.Version, e.Position
}

// Exists tells whether the third party was added and not removed.
func (t *ThirdParty) Exists() bool { return t.Version > 0 && t.State != ThirdPartyGone }

// Wants tells whether the third party is told of events of a type. Of an
// account's erasure everyone is told.
func (t *ThirdParty) Wants(eventType string) bool {
	if eventType == TypeAccountErased {
		return true
	}
	name, _, _ := strings.Cut(eventType, ".")
	return slices.Contains(t.Events, name)
}

// Secrets lists what a delivery at a point in time is signed with, newest first.
func (t *ThirdParty) Secrets(at time.Time) []WebhookSecrets {
	all := []WebhookSecrets{t.Secret}
	for _, previous := range t.Previous {
		if at.Before(previous.Until) {
			all = append(all, previous.WebhookSecrets)
		}
	}
	return all
}

// retired lists the previous secrets once the present ones are rotated out. Those
// that were rotated out before go on beside them, each to its own end: who
// rotates twice, perhaps because the first answer got lost, must not cut off a
// third party that still has the oldest. None goes on past until, so that a
// rotation without overlap ends them all.
func (t *ThirdParty) retired(at, until time.Time) []RetiredSecrets {
	var all []RetiredSecrets // a new slice: copies of t share the old one
	for _, r := range append([]RetiredSecrets{{t.Secret, until}}, t.Previous...) {
		if r.Until.After(until) {
			r.Until = until
		}
		if r.Until.After(at) {
			all = append(all, r)
		}
	}
	return all
}

// ThirdPartyStream is the stream of one third party.
func ThirdPartyStream(id ulid.ULID) Stream { return Stream(CategoryThirdParty + "-" + id.String()) }

// ClaimThirdPartyName is the kind of claim on a third party's name.
const ClaimThirdPartyName = "third-party-name"

// ThirdPartyNameClaim is the claim on a third party's name.
func ThirdPartyNameClaim(name string) Claim { return Claim{ClaimThirdPartyName, name} }

// Claims lists the keys that the third party holds, which follow from its state.
func (t *ThirdParty) Claims() []Claim {
	if !t.Exists() {
		return nil
	}
	return []Claim{ThirdPartyNameClaim(t.Name)}
}
