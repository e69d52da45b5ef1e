package commands

import (
	"context"
	"fmt"
	"math"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

// recall returns the account's cached state, which may be behind the log. If none is cached,
// it folds the log, and the state is fresh. An unknown account has the zero state. States are
// never changed after they are made, because others may hold them.
func (h *Accounts) recall(ctx context.Context, id ulid.ULID) (state *events.Account, fresh bool, err error) {
	if state, ok := h.cache.Get(id); ok {
		return state, false, nil
	}
	state, err = h.fold(ctx, id, h.snapshot(ctx, id, math.MaxUint64))
	return state, true, err
}

// snapshot returns a state of at most that version, to begin a fold with. A snapshot that
// cannot be read is no error, because the log has all events. A snapshot of an erased account
// is not used.
func (h *Accounts) snapshot(ctx context.Context, id ulid.ULID, version uint64) *events.Account {
	if h.snapshots != nil {
		if state, ok, err := h.snapshots.Account(ctx, id); err == nil && ok && !state.Erased && state.Version <= version {
			return &state
		}
	}
	return &events.Account{}
}

// refresh folds the events that a state lacks.
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

// fold applies all events that follow a state.
func (h *Accounts) fold(ctx context.Context, id ulid.ULID, state *events.Account) (*events.Account, error) {
	return h.foldTo(ctx, id, state, math.MaxUint64)
}

// foldTo is fold up to a version.
func (h *Accounts) foldTo(ctx context.Context, id ulid.ULID, from *events.Account, version uint64) (*events.Account, error) {
	state := *from
	if err := h.store.Fold(ctx, events.AccountStream(id), version, &state.Version, state.Apply); err != nil {
		return nil, fmt.Errorf("read account %s: %w", id, err)
	}
	return &state, nil
}

// remember caches a state unless a later one is cached. If two goroutines cache at the same
// time, the older state can remain, which costs one comparison with the log. Unknown accounts
// are not cached, so that requests for them do not evict others.
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
