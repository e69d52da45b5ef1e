package commands

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
)

// hmacSize is the length of a shared secret in bytes (Standard Webhooks: 24 to 64).
const hmacSize = 32

// ThirdParties registers third parties and keeps the state of their deliveries.
// What is done twice appends nothing the second time.
type ThirdParties struct {
	streamWriter
	mu    sync.Mutex
	known map[ulid.ULID]events.ThirdParty // may be behind the log
}

// NewThirdParties makes the handler; now may be nil.
func NewThirdParties(store *eventstore.Store, now Clock) *ThirdParties {
	return &ThirdParties{streamWriter: newStreamWriter(store, now), known: map[ulid.ULID]events.ThirdParty{}}
}

// AddThirdParty is who is to be told of what.
type AddThirdParty struct {
	Name   string   // 1 to 64 of a-z, 0-9 and -; unique among those that were not removed
	URL    string   // absolute; see webhookURL
	Format string   // one of events' Format constants; "" means cloudevents
	Events []string // types without version that the format can tell of; none means EmailChanged
}

// AddedThirdParty is a new third party. The secret is shown this once.
type AddedThirdParty struct {
	ID        ulid.ULID
	Secret    string // whsec_..., for the third party to check v1 signatures with
	PublicKey string // whpk_..., the same for v1a
	Position  uint64 // where the log has it
}

// RotatedSecret is a third party's new secret, shown this once.
type RotatedSecret struct {
	Secret, PublicKey string
	PreviousUntil     time.Time // when the last of those before it ends
	Position          uint64
}

// Add registers a third party, which is told of what happens from now on.
// Errors: *Invalid, or *eventstore.Taken when another one has the name.
func (t *ThirdParties) Add(ctx context.Context, meta events.Metadata, spec AddThirdParty) (AddedThirdParty, error) {
	spec, wrong := checkThirdParty(spec)
	if len(wrong) > 0 {
		return AddedThirdParty{}, &Invalid{Fields: wrong}
	}
	id, err := newID(t.now())
	if err != nil {
		return AddedThirdParty{}, err
	}
	secret := newWebhookSecrets()
	position, err := t.append(ctx, events.ThirdPartyStream(id), 0, meta, events.ThirdPartyAdded{
		Name: spec.Name, URL: spec.URL, Format: spec.Format, Events: spec.Events, Secret: secret,
	}, eventstore.ClaimChange{Claim: events.ThirdPartyNameClaim(spec.Name)})
	if err != nil {
		return AddedThirdParty{}, err
	}
	return AddedThirdParty{ID: id, Secret: secret.Secret(), PublicKey: secret.PublicKey(), Position: position}, nil
}

// Pause holds deliveries back. Like all that follow it returns the position of
// the third party's last event, and ErrNotFound when there is no such third party.
func (t *ThirdParties) Pause(ctx context.Context, meta events.Metadata, id ulid.ULID) (position uint64, err error) {
	return t.change(ctx, meta, id, func(state *events.ThirdParty) (events.Payload, error) {
		return enter(state, events.ThirdPartyHeld, events.ThirdPartyPaused{})
	})
}

// Resume lets deliveries go on from where they stopped, whoever stopped them.
func (t *ThirdParties) Resume(ctx context.Context, meta events.Metadata, id ulid.ULID) (position uint64, err error) {
	return t.change(ctx, meta, id, func(state *events.ThirdParty) (events.Payload, error) {
		return enter(state, events.ThirdPartyActive, events.ThirdPartyResumed{})
	})
}

// Disable stops deliveries in konto's own name, until an operator resumes them.
// The reason is one of events' Disabled constants, else the error is *Invalid.
func (t *ThirdParties) Disable(ctx context.Context, meta events.Metadata, id ulid.ULID, reason string) (position uint64, err error) {
	if reason != events.DisabledGone && reason != events.DisabledExhausted {
		return 0, invalid("/reason", CodeInvalidValue, "The reason is one of gone and exhausted.")
	}
	return t.change(ctx, meta, id, func(state *events.ThirdParty) (events.Payload, error) {
		return enter(state, events.ThirdPartyFailed, events.ThirdPartyDisabled{Reason: reason})
	})
}

// Remove ends a third party and frees its name. To remove one twice is no error.
func (t *ThirdParties) Remove(ctx context.Context, meta events.Metadata, id ulid.ULID) (position uint64, err error) {
	return t.change(ctx, meta, id, func(state *events.ThirdParty) (events.Payload, error) {
		if state.State == events.ThirdPartyGone {
			return nil, nil
		}
		return ifPresent(state, events.ThirdPartyRemoved{})
	})
}

// RotateSecret gives a third party new secrets; those before them sign too for
// the overlap, 0 to MaxSecretOverlap, but none longer than it would have
// otherwise. Each call rotates. Another error is *Invalid.
func (t *ThirdParties) RotateSecret(ctx context.Context, meta events.Metadata, id ulid.ULID, overlap time.Duration) (RotatedSecret, error) {
	secret, at := newWebhookSecrets(), t.now().UTC().Truncate(time.Millisecond)
	rotation := events.ThirdPartySecretRotated{Secret: secret, PreviousUntil: at.Add(overlap)}
	position, err := t.change(ctx, meta, id, func(state *events.ThirdParty) (events.Payload, error) {
		if wrong := checkOverlap(overlap, len(state.Secrets(at))); wrong != nil {
			return nil, wrong
		}
		return ifPresent(state, rotation)
	})
	if err != nil {
		return RotatedSecret{}, err
	}
	return RotatedSecret{
		Secret: secret.Secret(), PublicKey: secret.PublicKey(), PreviousUntil: rotation.PreviousUntil, Position: position,
	}, nil
}

// Checkpoint records that all up to a position was settled. It never goes back:
// an older position appends nothing. One that the log has not reached would lose
// what is still to come, and is *Invalid.
func (t *ThirdParties) Checkpoint(ctx context.Context, meta events.Metadata, id ulid.ULID, settled uint64) (position uint64, err error) {
	head, err := t.store.Head(ctx)
	if err != nil {
		return 0, fmt.Errorf("look up the log's end: %w", err)
	}
	if settled > head {
		return 0, invalid("/position", CodeInvalidValue, "The log has not reached the position.")
	}
	return t.change(ctx, meta, id, func(state *events.ThirdParty) (events.Payload, error) {
		if state.Exists() && settled <= state.Checkpoint {
			return nil, nil
		}
		return ifPresent(state, events.ThirdPartyCheckpointed{Position: settled})
	})
}

// newWebhookSecrets makes random ones.
func newWebhookSecrets() events.WebhookSecrets {
	s := events.WebhookSecrets{HMAC: make([]byte, hmacSize), Ed25519Seed: make([]byte, ed25519.SeedSize)}
	rand.Read(s.HMAC) // never fails: crypto/rand ends the program instead
	rand.Read(s.Ed25519Seed)
	return s
}
