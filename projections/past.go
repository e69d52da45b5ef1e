package projections

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
)

const (
	// pastAccounts is how many accounts' past states are cached. A third party
	// that is retried needs an account again within minutes, or not for hours.
	pastAccounts = 2000
	// pastStates is how many states of one account are cached. Third parties that
	// are at different versions of an account must not evict each other's states.
	pastStates = 4
)

// Past returns accounts as they were, by folding the log. It caches the states that it
// folded last, so that the next version costs one event.
type Past struct {
	store  *eventstore.Store
	states *cache[[]events.Account] // last used first; slices are never changed
	ended  sync.Map                 // the accounts that are not cached any more
}

// NewPast returns a Past that reads from store.
func NewPast(store *eventstore.Store) *Past {
	return &Past{store: store, states: newCache[[]events.Account](pastAccounts)}
}

// AccountAt returns an account right after the event with that version. It may
// be called by many goroutines at once. Errors: ErrNoAccount for version 0;
// ErrOutOfStep when the stream is shorter. Nobody knows what an account was whose key
// was destroyed since: it is erased at every version.
func (p *Past) AccountAt(ctx context.Context, id ulid.ULID, version uint64) (events.Account, error) {
	if version == 0 {
		return events.Account{}, ErrNoAccount
	}
	cached, _, generation := p.states.get(id)
	var a events.Account
	for _, state := range cached {
		if state.Version <= version && state.Version > a.Version {
			a = state
		}
	}
	if err := p.store.Fold(ctx, events.AccountStream(id), version, &a.Version, a.Apply); err != nil {
		return events.Account{}, err
	}
	if a.Version < version {
		return events.Account{}, fmt.Errorf("%w: %s ends at version %d, before %d", ErrOutOfStep, events.AccountStream(id), a.Version, version)
	}
	states := []events.Account{a}
	for _, state := range cached {
		if state.Version != version && len(states) < pastStates {
			states = append(states, state)
		}
	}
	if _, ended := p.ended.Load(id); !ended {
		p.states.add(id, slices.Clip(states), generation)
	}
	return a, nil
}

// Evict removes an account that is erased from the cache, for good: another node may destroy its key
// later.
func (p *Past) Evict(id ulid.ULID) {
	p.ended.Store(id, struct{}{})
	p.states.evict(id)
}
