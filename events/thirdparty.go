package events

import (
	"crypto/ed25519"
	"encoding/base64"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
)

// ThirdPartyAdded is the first event of a third party's stream. From then on, events are delivered
// to it by webhook. The payload has secrets; it is encrypted and never published.
type ThirdPartyAdded struct {
	Name   string         `json:"name"` // unique among those that were not removed
	URL    string         `json:"url"`
	Format string         `json:"format"` // one of the Format constants
	Events []string       `json:"events"` // types without version, such as EmailChanged
	Secret WebhookSecrets `json:"secret"`
}

// WebhookSecrets are the secrets that sign deliveries (Standard Webhooks).
type WebhookSecrets struct {
	HMAC        []byte `json:"hmac"`        // signs v1; 24 to 64 random bytes, shared with the third party
	Ed25519Seed []byte `json:"ed25519Seed"` // signs v1a; 32 random bytes that only konto knows
}

// ThirdPartySecretRotated records new secrets. The previous secrets sign too, until PreviousUntil
// at the latest.
type ThirdPartySecretRotated struct {
	Secret        WebhookSecrets `json:"secret"`
	PreviousUntil time.Time      `json:"previousUntil"`
}

// ThirdPartyPaused records that an operator paused deliveries.
type ThirdPartyPaused struct{}

// ThirdPartyResumed records that deliveries continue from where they stopped.
type ThirdPartyResumed struct{}

// ThirdPartyDisabled records that konto itself stopped deliveries until an operator resumes them.
type ThirdPartyDisabled struct {
	Reason string `json:"reason"` // one of the Disabled constants
}

// Why konto disables a third party.
const (
	DisabledGone      = "gone"      // its endpoint answered 410
	DisabledExhausted = "exhausted" // nothing it was sent succeeded during a whole retry schedule
)

// ThirdPartyCheckpointed records how far deliveries have come: all deliveries up to the position
// have ended. It is appended from time to time, so that the loss of deliveries.db causes a bounded
// number of repeated deliveries, and no lost one.
type ThirdPartyCheckpointed struct {
	Position uint64 `json:"position"`
}

// ThirdPartyRemoved ends a third party's stream.
type ThirdPartyRemoved struct{}

func (ThirdPartyAdded) storedName() string         { return TypeThirdPartyAdded }
func (ThirdPartySecretRotated) storedName() string { return TypeThirdPartySecretRotated }
func (ThirdPartyPaused) storedName() string        { return TypeThirdPartyPaused }
func (ThirdPartyResumed) storedName() string       { return TypeThirdPartyResumed }
func (ThirdPartyDisabled) storedName() string      { return TypeThirdPartyDisabled }
func (ThirdPartyCheckpointed) storedName() string  { return TypeThirdPartyCheckpointed }
func (ThirdPartyRemoved) storedName() string       { return TypeThirdPartyRemoved }

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

// ThirdParty is the state of a third party, folded from its events.
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
	// Begin is the position of its first event. Only later events are delivered.
	Begin uint64 `json:"begin"`
	// Checkpoint is the position of the last ThirdPartyCheckpointed.
	Checkpoint uint64 `json:"checkpoint"`
	Version    uint64 `json:"version"`
	Position   uint64 `json:"position"` // of its last event

	// signingKeys are by the seed; nil before KeepSigningKeys. The map is never changed.
	signingKeys map[string]func() ed25519.PrivateKey
}

// RetiredSecrets are previous secrets that sign until a point in time.
type RetiredSecrets struct {
	WebhookSecrets
	Until time.Time `json:"until"`
}

// Apply applies the third party's next event, whose payload is p.
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

// Exists reports whether the third party was added and not removed.
func (t *ThirdParty) Exists() bool { return t.Version > 0 && t.State != ThirdPartyGone }

// Wants reports whether events of a type are delivered to the third party. Erasures are delivered
// to every third party.
func (t *ThirdParty) Wants(eventType string) bool {
	if eventType == TypeAccountErased {
		return true
	}
	name, _, _ := strings.Cut(eventType, ".")
	return slices.Contains(t.Events, name)
}

// Secrets lists the secrets that sign at a point in time, newest first.
func (t *ThirdParty) Secrets(at time.Time) []WebhookSecrets {
	all := []WebhookSecrets{t.Secret}
	for _, previous := range t.Previous {
		if at.Before(previous.Until) {
			all = append(all, previous.WebhookSecrets)
		}
	}
	return all
}

// retired lists the previous secrets after a rotation at a point in time. Secrets that were
// rotated out before sign too, each until its own end: rotating twice, for example because the
// first answer was lost, must not cut off a third party that still has the oldest. None signs
// after until, so a rotation without overlap ends them all.
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

// Claims lists the claims that the third party holds. They follow from its state.
func (t *ThirdParty) Claims() []Claim {
	if !t.Exists() {
		return nil
	}
	return []Claim{ThirdPartyNameClaim(t.Name)}
}

// The prefixes of keys in the text forms of Standard Webhooks.
const (
	hmacPrefix      = "whsec_"
	publicKeyPrefix = "whpk_"
	seedPrefix      = "whsk_"
)

// Secret returns the shared secret as the third party enters it, whsec_ and base64. Whoever has it
// can verify and make v1 signatures.
func (s WebhookSecrets) Secret() string {
	return hmacPrefix + base64.StdEncoding.EncodeToString(s.HMAC)
}

// PublicKey returns the key that verifies v1a signatures, whpk_ and base64. It is no secret.
// PublicKey panics if the seed is not 32 bytes long.
func (s WebhookSecrets) PublicKey() string {
	return publicKeyPrefix + base64.StdEncoding.EncodeToString(s.SigningKey().Public().(ed25519.PublicKey))
}

// PrivateKey returns the key that makes v1a signatures, whsk_ and base64. Only operators who move a
// third party to another konto see it.
func (s WebhookSecrets) PrivateKey() string {
	return seedPrefix + base64.StdEncoding.EncodeToString(s.Ed25519Seed)
}

// SigningKey returns the key that makes v1a signatures. It panics if the seed is not 32 bytes long.
func (s WebhookSecrets) SigningKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(s.Ed25519Seed)
}

// KeepSigningKeys makes t and its copies cache the signing key of each of their secrets, because
// computing the key takes as long as signing. A key is computed when it is first used.
func (t *ThirdParty) KeepSigningKeys() {
	t.signingKeys = make(map[string]func() ed25519.PrivateKey)
	for _, s := range t.Secrets(time.Time{}) { // all: none has ended by then
		t.signingKeys[string(s.Ed25519Seed)] = sync.OnceValue(s.SigningKey)
	}
}

// SigningKey returns the signing key of s: the cached one if KeepSigningKeys found s among the
// secrets of t, else a new one.
func (t *ThirdParty) SigningKey(s WebhookSecrets) ed25519.PrivateKey {
	if key := t.signingKeys[string(s.Ed25519Seed)]; key != nil {
		return key()
	}
	return s.SigningKey()
}
