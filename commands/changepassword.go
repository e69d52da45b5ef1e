package commands

import (
	"context"
	"unicode/utf8"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

// ChangePassword sets a new password and ends the account's sessions, all but
// one. Its API keys stay.
type ChangePassword struct {
	CurrentPassword string // must be the account's, if it has one
	NewPassword     string
	Session         ulid.ULID // that goes on: the caller's own; zero for none
	If              Condition

	proof proof
	weak  bool
	hash  string // of the new password, once it may be set
}

func (ChangePassword) command() {}

// prepare does the costly work, each step only when those before went well.
func (p ChangePassword) prepare(ctx context.Context, h *Accounts, id ulid.ULID) (_ Command, err error) {
	state, err := h.known(ctx, id)
	if err != nil {
		return nil, err
	}
	if p.proof, err = h.prove(ctx, id, p.CurrentPassword, state.PasswordHash); err != nil {
		return nil, err
	}
	if n := utf8.RuneCountInString(p.NewPassword); n < minPassword || n > maxPassword {
		return p, nil
	}
	p.weak = isWeak(p.NewPassword, state)
	if p.proof.holds && !p.weak {
		p.hash, err = HashPassword(ctx, p.NewPassword)
	}
	return p, err
}

func decideChangePassword(state events.Account, p ChangePassword) (decision, error) {
	var c checker
	if err := p.proof.check(&c, state); err != nil {
		return decision{}, err
	}
	switch n := utf8.RuneCountInString(p.NewPassword); {
	case n == 0:
		c.reject("/newPassword", &fault{CodeMustBeSet, "A new password is required."})
	case n < minPassword:
		c.reject("/newPassword", &fault{CodeWeakPassword, "The password must have at least 6 characters."})
	case n > maxPassword:
		c.reject("/newPassword", &fault{CodeTooLong, "The password can have at most 1024 characters."})
	case p.weak:
		c.reject("/newPassword", &fault{CodeWeakPassword, "The password is too easy to guess."})
	}
	if len(c.wrong) > 0 {
		return decision{}, &Invalid{Fields: c.wrong}
	}
	if err := existsAt(state, p.If); err != nil {
		return decision{}, err
	}
	return decision{payloads: []events.Payload{events.PasswordChanged{Hash: p.hash, Session: p.Session}}}, nil
}
