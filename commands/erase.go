package commands

import (
	"context"

	"konto/events"
)

// Erase ends an account: its claims are released for others to take, and what
// was remembered of requests to it is dropped. The key that seals its events is
// not this command's: whoever has the keyring destroys it once followers know
// of the erasure.
//
// An account that was erased already is no error, and nothing is appended. One
// whose key was destroyed although the log does not say that it was erased, as
// after an older log was restored, is erased as any other; nobody knows its
// claims any more (eventstore.Store.Release). ErrNotFound: it was never opened.
//
// To send it again is harmless, so it needs no Once, and none is remembered.
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
