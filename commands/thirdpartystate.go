package commands

import (
	"context"
	"fmt"
	"math"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
)

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
