package main

import (
	"context"
	"errors"
	"fmt"

	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/sqlite"
)

// openLogAndKeys opens the two files that belong together, and refuses one
// whose fellow was lost, emptied or exchanged: konto would go on without a past,
// or would give claims another hash and so an email address to two accounts.
func (h *house) openLogAndKeys(ctx context.Context, log, keys string, master keyring.Master) (err error) {
	if !missing(keys) {
		if h.keys, err = master.Open(ctx, keys); err != nil {
			return err
		}
		bound, err := h.keys.Bound(ctx)
		if err != nil {
			return err
		}
		if bound && missing(log) {
			return fmt.Errorf("%s is missing, whose keys are in %s; restore it", log, keys)
		}
	}
	if h.log, err = sqlite.Open(ctx, log); err != nil {
		return err
	}
	head, err := h.log.Head(ctx)
	if err != nil {
		return err
	}
	if h.keys == nil {
		if head > 0 {
			return fmt.Errorf("%s is missing, without which %s cannot be read; restore it", keys, log)
		}
		if h.keys, err = master.Open(ctx, keys); err != nil {
			return err
		}
	}
	if err := h.bind(ctx, head); err != nil {
		return fmt.Errorf("%s does not fit: %w", log, err)
	}
	h.store = eventstore.NewStore(h.log, h.keys)
	return h.readLast(ctx, head)
}

func (h *house) bind(ctx context.Context, head uint64) error {
	id, err := h.log.ID(ctx)
	if err != nil {
		return err
	}
	return h.keys.Bind(ctx, id, head == 0)
}

// readLast finds out keys that are older than the log: copied while a konto
// ran, say, without what had not reached the file yet.
func (h *house) readLast(ctx context.Context, head uint64) error {
	if head == 0 {
		return nil
	}
	// Another fault of the last event is its own: the followers report it.
	if _, err := h.store.ReadAll(ctx, head-1, 1); errors.Is(err, eventstore.ErrNoKey) {
		return fmt.Errorf("the keys are older than the log: %w", err)
	}
	return nil
}
