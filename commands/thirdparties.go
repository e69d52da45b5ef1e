package commands

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
)

// hmacSize is the length of a shared secret in bytes (Standard Webhooks: 24 to 64).
const hmacSize = 32

// ThirdParties registers third parties and records the state of their deliveries. A change that
// was made already appends nothing.
type ThirdParties struct {
	streamWriter
	mu    sync.Mutex
	known map[ulid.ULID]events.ThirdParty // folded states, which may be behind the log
}

// NewThirdParties returns a ThirdParties. now may be nil.
func NewThirdParties(store *eventstore.Store, now Clock) *ThirdParties {
	return &ThirdParties{streamWriter: newStreamWriter(store, now), known: map[ulid.ULID]events.ThirdParty{}}
}

// AddThirdParty describes a new third party.
type AddThirdParty struct {
	Name   string   // 1 to 64 of a-z, 0-9 and -; unique among those that were not removed
	URL    string   // absolute; see webhookURL
	Format string   // one of events' Format constants; "" means cloudevents
	Events []string // types, without versions, that the format supports; none means EmailChanged
}

// AddedThirdParty is a new third party. The secret is returned only here.
type AddedThirdParty struct {
	ID        ulid.ULID
	Secret    string // whsec_..., with which the third party verifies v1 signatures
	PublicKey string // whpk_..., the same for v1a
	Position  uint64 // of its event in the log
}

// RotatedSecret is a third party's new secret. It is returned only here.
type RotatedSecret struct {
	Secret, PublicKey string
	PreviousUntil     time.Time // when the last of the previous secrets ends
	Position          uint64
}

// Add registers a third party. Events from now on are delivered to it. Errors: *Invalid, or
// *eventstore.Taken if another third party has the name.
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

// Pause pauses deliveries. Like the methods below it returns the position of the third party's
// last event, or ErrNotFound if there is no such third party.
func (t *ThirdParties) Pause(ctx context.Context, meta events.Metadata, id ulid.ULID) (position uint64, err error) {
	return t.change(ctx, meta, id, func(state *events.ThirdParty) (events.Payload, error) {
		return moveTo(state, events.ThirdPartyHeld, events.ThirdPartyPaused{})
	})
}

// Resume continues deliveries from where they stopped, after Pause and after Disable.
func (t *ThirdParties) Resume(ctx context.Context, meta events.Metadata, id ulid.ULID) (position uint64, err error) {
	return t.change(ctx, meta, id, func(state *events.ThirdParty) (events.Payload, error) {
		return moveTo(state, events.ThirdPartyActive, events.ThirdPartyResumed{})
	})
}

// Disable stops deliveries until an operator resumes them. konto itself calls it. The reason is
// one of events' Disabled constants, otherwise the error is *Invalid.
func (t *ThirdParties) Disable(ctx context.Context, meta events.Metadata, id ulid.ULID, reason string) (position uint64, err error) {
	if reason != events.DisabledGone && reason != events.DisabledExhausted {
		return 0, invalid("/reason", CodeInvalidValue, "The reason is one of gone and exhausted.")
	}
	return t.change(ctx, meta, id, func(state *events.ThirdParty) (events.Payload, error) {
		return moveTo(state, events.ThirdPartyFailed, events.ThirdPartyDisabled{Reason: reason})
	})
}

// Remove removes a third party and releases its name. Removing one twice is no error.
func (t *ThirdParties) Remove(ctx context.Context, meta events.Metadata, id ulid.ULID) (position uint64, err error) {
	return t.change(ctx, meta, id, func(state *events.ThirdParty) (events.Payload, error) {
		if state.State == events.ThirdPartyGone {
			return nil, nil
		}
		return ifPresent(state, events.ThirdPartyRemoved{})
	})
}

// RotateSecret makes new secrets for a third party. The previous secrets sign too during the
// overlap, 0 to MaxSecretOverlap, but none longer than without this rotation. Each call
// rotates. The additional error is *Invalid.
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

// Checkpoint records that all deliveries up to a position have ended. It never goes back: an
// older position appends nothing. A position that the log has not reached is *Invalid, because
// it would lose events that are not in the log yet.
func (t *ThirdParties) Checkpoint(ctx context.Context, meta events.Metadata, id ulid.ULID, reached uint64) (position uint64, err error) {
	head, err := t.store.Head(ctx)
	if err != nil {
		return 0, fmt.Errorf("look up the log's end: %w", err)
	}
	if reached > head {
		return 0, invalid("/position", CodeInvalidValue, "The log has not reached the position.")
	}
	return t.change(ctx, meta, id, func(state *events.ThirdParty) (events.Payload, error) {
		if state.Exists() && reached <= state.Checkpoint {
			return nil, nil
		}
		return ifPresent(state, events.ThirdPartyCheckpointed{Position: reached})
	})
}

// newWebhookSecrets makes random secrets.
func newWebhookSecrets() events.WebhookSecrets {
	s := events.WebhookSecrets{HMAC: make([]byte, hmacSize), Ed25519Seed: make([]byte, ed25519.SeedSize)}
	rand.Read(s.HMAC) // never fails: crypto/rand ends the program instead
	rand.Read(s.Ed25519Seed)
	return s
}

// thirdPartyRule decides what a change of a third party comes to: an event, nil for none, or an
// error. It is pure.
type thirdPartyRule func(state *events.ThirdParty) (events.Payload, error)

// ifPresent returns p, or ErrNotFound if there is no such third party.
func ifPresent(state *events.ThirdParty, p events.Payload) (events.Payload, error) {
	if !state.Exists() {
		return nil, ErrNotFound
	}
	return p, nil
}

// moveTo returns the event p that brings the third party into a state, or nil if it is in that
// state.
func moveTo(state *events.ThirdParty, to string, p events.Payload) (events.Payload, error) {
	if state.State == to {
		return nil, nil
	}
	return ifPresent(state, p)
}

// change appends what decide returns for the third party's present state, and returns the
// position of its last event.
func (t *ThirdParties) change(ctx context.Context, meta events.Metadata, id ulid.ULID, decide thirdPartyRule) (uint64, error) {
	return retryConflicts(func() (uint64, error) {
		state, err := t.load(ctx, id)
		if err != nil {
			return 0, err
		}
		p, err := decide(&state)
		if err != nil || p == nil {
			return state.Position, err
		}
		var claims []eventstore.ClaimChange
		if _, ends := p.(events.ThirdPartyRemoved); ends {
			claims = []eventstore.ClaimChange{{Claim: events.ThirdPartyNameClaim(state.Name), Release: true}}
		}
		return t.append(ctx, events.ThirdPartyStream(id), state.Version, meta, p, claims...)
	})
}

// load folds a third party. It caches the state and reads only the events that follow, because
// a stream gets a checkpoint every ten minutes while there are deliveries: 50,000 a year. So
// the state that it returns is never stale.
func (t *ThirdParties) load(ctx context.Context, id ulid.ULID) (events.ThirdParty, error) {
	t.mu.Lock()
	state := t.known[id]
	t.mu.Unlock()
	stream := events.ThirdPartyStream(id)
	if err := t.store.Fold(ctx, stream, math.MaxUint64, &state.Version, state.Apply); err != nil {
		return state, fmt.Errorf("read %s: %w", stream, err)
	}
	t.keep(id, &state)
	return state, nil
}

// keep caches a state. Unknown ids and removed third parties are not cached.
func (t *ThirdParties) keep(id ulid.ULID, state *events.ThirdParty) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if state.Exists() {
		t.known[id] = *state
	} else {
		delete(t.known, id)
	}
}
