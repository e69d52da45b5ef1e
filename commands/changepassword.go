package commands

import (
	"context"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

// ChangePassword sets a new password, ends the account's sessions, all but one,
// and withdraws a pending change of address. API keys stay.
type ChangePassword struct {
	CurrentPassword string // must be the account's, if it has one
	NewPassword     string
	Session         ulid.ULID // that goes on: the caller's own; zero for none
	If              Condition

	at     time.Time
	proof  proof
	wrong  *fault // with the new password, by the rule for all passwords
	judged bool   // whether the new password was judged and hashed
	hash   string // of the new password; "" if it is weak
}

// prepare does the costly work, each step only when those before went well: a
// caller who does not know the current password must not make konto judge a new one.
func (p ChangePassword) prepare(ctx context.Context, h *Accounts, by caller) (_ Command, err error) {
	p.at = h.now()
	state, err := h.known(ctx, by.account)
	if err != nil {
		return nil, err
	}
	if p.proof, err = h.prove(ctx, by, p.CurrentPassword, state.PasswordHash); err != nil {
		return nil, err
	}
	var normal string
	normal, p.wrong = newPassword(p.NewPassword)
	if p.wrong != nil || !p.proof.holds || existsAt(state, p.If) != nil {
		return p, nil
	}
	p.judged = true
	p.hash, err = hashIfStrong(ctx, normal, &state)
	return p, err
}

func (p ChangePassword) decide(state events.Account) (decision, error) {
	var c checker
	if err := p.proof.check(&c, state); err != nil {
		return decision{}, err
	}
	wrong := p.wrong
	switch {
	case p.NewPassword == "":
		wrong = &fault{CodeMustBeSet, "A new password is required."}
	case wrong != nil && wrong.code == CodeInvalidValue: // HostUp's word for a short one
		wrong = &fault{CodeWeakPassword, wrong.detail}
	case wrong == nil && p.judged && p.hash == "":
		wrong = &fault{CodeWeakPassword, "The password is too easy to guess."}
	}
	if wrong != nil {
		c.reject("/newPassword", wrong)
	}
	if len(c.wrong) > 0 {
		return decision{}, &Invalid{Fields: c.wrong}
	}
	if err := existsAt(state, p.If); err != nil {
		return decision{}, err
	}
	if !p.judged { // the account came to the caller's version only after prepare
		return decision{}, ErrBusy
	}
	changed := events.PasswordChanged{Hash: p.hash, Session: p.Session}
	return decision{payloads: append(withdrawn(&state, p.at), changed)}, nil
}
