package commands

import (
	"context"

	"konto/events"
)

// Erase ends an account. Its claims are released, and the receipts of its requests are
// deleted. Erase does not destroy the key that encrypts the account's events: that happens
// when the followers have seen the erasure.
//
// If the account is erased already, nothing is appended and there is no error. If only its
// key was destroyed and the log has no erasure, as after an older log was restored, the
// erasure is appended; nobody knows the claims of such an account any more
// (eventstore.Store.Release). ErrNotFound: it was never opened.
//
// Repeating Erase is harmless, so it needs no idempotency key, and no receipt is kept.
type Erase struct{}

func (e Erase) prepare(context.Context, *Accounts, caller) (Command, error) { return e, nil }

func (Erase) decide(state events.Account) (decision, error) {
	switch {
	case state.Version == 0:
		return decision{}, ErrNotFound
	case state.Erased && !state.Shredded:
		return decision{}, nil
	}
	return decision{payloads: []events.Payload{events.AccountErased{}}}, nil
}
