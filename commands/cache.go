package commands

import (
	"context"
	"fmt"
	"math"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

// foldPage is how many events are read at a time.
const foldPage = 1000

// recall returns the account's cached state, which may be behind the log, or
// else folds it: then it is fresh. The zero state is that of an unknown account.
// No state is changed once it is made: others may hold it.
func (h *Accounts) recall(ctx context.Context, id ulid.ULID) (state *events.Account, fresh bool, err error) {
	if state, ok := h.cache.Get(id); ok {
		return state, false, nil
	}
	state, err = h.fold(ctx, id, h.snapshot(ctx, id, math.MaxUint64))
	return state, true, err
}

// snapshot is a state at a version or an earlier one, to begin a fold with. Any
// trouble with it is no reason to fail, since the log has all of it; of an erased
// account only the log is asked.
func (h *Accounts) snapshot(ctx context.Context, id ulid.ULID, version uint64) *events.Account {
	if h.snapshots != nil {
		if state, ok, err := h.snapshots.Account(ctx, id); err == nil && ok && !state.Erased && state.Version <= version {
			return &state
		}
	}
	return &events.Account{}
}

// refresh brings a state up to the log's.
func (h *Accounts) refresh(ctx context.Context, id ulid.ULID, state *events.Account) (*events.Account, error) {
	head, err := h.store.StreamHead(ctx, events.AccountStream(id))
	if err != nil {
		return nil, fmt.Errorf("look up account %s: %w", id, err)
	}
	if head.Version == state.Version {
		return state, nil
	}
	return h.fold(ctx, id, state)
}

// fold gives the state that the events which follow a state lead to.
func (h *Accounts) fold(ctx context.Context, id ulid.ULID, state *events.Account) (*events.Account, error) {
	return h.foldTo(ctx, id, state, math.MaxUint64)
}

// foldTo is fold up to a version.
func (h *Accounts) foldTo(ctx context.Context, id ulid.ULID, from *events.Account, version uint64) (*events.Account, error) {
	state := *from
	for state.Version < version {
		limit := int(min(foldPage, version-state.Version))
		page, err := h.store.ReadStream(ctx, events.AccountStream(id), state.Version, limit)
		if err != nil {
			return nil, fmt.Errorf("read account %s: %w", id, err)
		}
		for _, e := range page {
			p, err := e.Payload()
			if err != nil {
				return nil, fmt.Errorf("read account %s: %w", id, err)
			}
			state.Apply(e, p)
		}
		if len(page) < limit {
			break
		}
	}
	return &state, nil
}

// remember caches a state unless a later one is there. Two goroutines may still
// leave the older one, which costs a look at the log and nothing else.
// Unknown accounts are not remembered: asking for them must not evict others.
func (h *Accounts) remember(state *events.Account) {
	if state.Version == 0 {
		return
	}
	if known, ok := h.cache.Peek(state.ID); ok && known.Version > state.Version {
		return
	}
	h.cache.Add(state.ID, state)
}

// evict removes a state that may not be the log's any more.
func (h *Accounts) evict(id ulid.ULID) { h.cache.Remove(id) }
