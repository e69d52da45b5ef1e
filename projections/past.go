package projections

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
)

const (
	// pastAccounts is how many accounts' past states are kept. A third party
	// that is retried hears of an account again within minutes or not for hours.
	pastAccounts = 2000
	// pastStates is how many states of one account are kept: third parties that
	// are at different versions of it must not throw out each other's.
	pastStates = 4
)

// Past gives accounts as they were, by folding the log. What it folded last is
// kept, so that one version after the other costs one event each.
type Past struct {
	store *eventstore.Store

	mu     sync.Mutex
	states *simplelru.LRU[ulid.ULID, []events.Account] // last used first; slices are never changed
	// forgotten counts calls of Forget: what was folded before one is not kept after it.
	forgotten int
}

// NewPast reads from store.
func NewPast(store *eventstore.Store) *Past {
	states, err := simplelru.NewLRU[ulid.ULID, []events.Account](pastAccounts, nil)
	if err != nil {
		panic(err) // the size is not positive
	}
	return &Past{store: store, states: states}
}

// AccountAt returns an account right after the event with that version. It may
// be called by many goroutines at once. Errors: ErrNoAccount for version 0;
// ErrOutOfStep when the stream is shorter. Of an account whose key was destroyed
// since it is not known any more what it was: it is erased at every version.
func (p *Past) AccountAt(ctx context.Context, id ulid.ULID, version uint64) (events.Account, error) {
	if version == 0 {
		return events.Account{}, ErrNoAccount
	}
	a, forgotten := p.before(id, version)
	if err := p.store.Fold(ctx, events.AccountStream(id), version, &a.Version, a.Apply); err != nil {
		return events.Account{}, err
	}
	if a.Version < version {
		return events.Account{}, fmt.Errorf("%w: %s ends at version %d, before %d", ErrOutOfStep, events.AccountStream(id), a.Version, version)
	}
	p.keep(id, a, forgotten)
	return a, nil
}

// Forget drops what is kept of an account whose key was destroyed.
func (p *Past) Forget(id ulid.ULID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forgotten++
	p.states.Remove(id)
}

// before is the last state kept that is not beyond the version, or the zero
// Account, and what to pass to keep.
func (p *Past) before(id ulid.ULID, version uint64) (a events.Account, forgotten int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	states, _ := p.states.Get(id)
	for _, s := range states {
		if s.Version <= version && s.Version > a.Version {
			a = s
		}
	}
	return a, p.forgotten
}

// keep puts a state in front of those kept of the account, unless any was to be
// forgotten since before was called.
func (p *Past) keep(id ulid.ULID, a events.Account, forgotten int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.forgotten != forgotten {
		return
	}
	kept, _ := p.states.Get(id)
	states := append(make([]events.Account, 0, pastStates+1), a)
	for _, s := range kept {
		if s.Version != a.Version && len(states) < pastStates {
			states = append(states, s)
		}
	}
	p.states.Add(id, slices.Clip(states))
}
