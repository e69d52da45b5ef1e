package commands

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
)

const (
	// commitTimeout bounds one turn of a leader.
	commitTimeout = 10 * time.Second
	// maxAttempts bounds how often a batch is decided anew because another node
	// was faster. It is generous: a long batch loses most races against a node
	// with short ones (ten attempts were too few in TestNodesOnOneLogLoseNothing),
	// and a lost attempt costs little.
	maxAttempts = 100
)

// errAbandoned is what waiting callers get when their leader panicked.
var errAbandoned = errors.New("command was abandoned; it may or may not have been stored")

// lead runs one batch of the account's waiting commands.
func (h *Accounts) lead(ctx context.Context, id ulid.ULID) {
	defer h.lanes.pass(id)
	batch := h.lanes.take(id)
	defer func() { // nobody may wait for ever because a leader panicked
		for _, c := range batch {
			if !c.isAnswered() {
				h.forget(id)
				c.answer(Outcome{}, errAbandoned)
			}
		}
	}()
	// The batch is others' work too: this caller's end must not cancel it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	h.commit(ctx, id, batch)
}

// commit answers every call of a batch: together if it can be, else one by one.
func (h *Accounts) commit(ctx context.Context, id ulid.ULID, batch []*call) {
	err := h.attempt(ctx, id, batch)
	switch {
	case err == nil:
	case len(batch) > 1 && errors.Is(err, ErrTaken):
		// One command wants what another account holds. Alone, each gets the
		// verdict that is its own.
		for _, c := range batch {
			h.commit(ctx, id, []*call{c})
		}
	default:
		for _, c := range batch {
			c.answer(Outcome{}, err)
		}
	}
}

// attempt decides and appends until the log agrees. When it returns nil, every
// call is answered; else none is.
//
// An append settles whether the cached state was fresh, since the log compares
// versions. Without an append (nothing changes, or a refusal) nobody has
// compared, so the state is held against the log before anything is answered
// from it.
func (h *Accounts) attempt(ctx context.Context, id ulid.ULID, batch []*call) error {
	state, fresh, err := h.recall(ctx, id)
	if err != nil {
		return err
	}
	for range maxAttempts {
		known, err := h.replays(ctx, batch)
		if err != nil {
			return err
		}
		r := h.decideAll(id, state, batch, known)
		last, err := r.append(ctx, h.store)
		var taken *eventstore.Taken
		switch {
		case err == nil && (fresh || !r.isEmpty()):
			h.remember(r.settle(last))
			return nil
		case errors.As(err, &taken) && (fresh || len(batch) > 1):
			refusal := &Taken{Field: claimField(taken.Kind)}
			if len(batch) == 1 && batch[0].drop(refusal.Field) {
				continue
			}
			return refusal
		case err == nil, taken != nil, errors.Is(err, eventstore.ErrConflict), errors.Is(err, eventstore.ErrRepeated):
			if state, err = h.refresh(ctx, id, state); err != nil {
				return err
			}
			fresh = true
		case errors.Is(err, eventstore.ErrDestroyed) && state.Exists():
			// The state is of a time when the account still had its key.
			if state, err = h.fold(ctx, id, &events.Account{}); err != nil {
				return err
			}
			fresh = true
		default:
			// The log may have stored it or not: only the log can tell now.
			h.forget(id)
			return fmt.Errorf("append to account %s: %w", id, err)
		}
	}
	h.forget(id)
	return fmt.Errorf("account %s: %w after %d attempts", id, ErrBusy, maxAttempts)
}

// drop takes a field that is taken out of a partial update.
func (c *call) drop(field string) bool {
	u, ok := c.command.(*Update)
	if !ok || !u.Partial {
		return false
	}
	rest, ok := u.rejecting(field)
	if ok {
		c.command = rest
	}
	return ok
}
