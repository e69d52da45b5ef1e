package commands

import (
	"context"
	"errors"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

// ChangePassword sets a new password, ends all sessions of the account except one, and
// cancels a pending email change. API keys stay valid.
type ChangePassword struct {
	CurrentPassword string // must be the account's, if it has one
	NewPassword     string
	Session         ulid.ULID // that stays valid: the caller's own; zero for none
	If              Condition

	proof  proof
	wrong  *fault // what the rule for all passwords says of the new one
	judged bool   // the new password's strength was judged
	hash   string // of the new password; "" if it is weak
}

// prepare does the costly work. Each step runs only if the steps before succeeded: a caller
// who does not know the current password cannot make konto judge and hash a new one.
func (p ChangePassword) prepare(ctx context.Context, h *Accounts, by caller) (_ Command, err error) {
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

func (p ChangePassword) decide(state events.Account, at time.Time) (decision, error) {
	var c checker
	if err := p.proof.check(&c, state); err != nil {
		return decision{}, err
	}
	wrong := p.wrong
	switch {
	case p.NewPassword == "":
		wrong = &fault{CodeMustBeSet, "A new password is required."}
	case wrong != nil && wrong.code == CodeInvalidValue: // HostUp's code for a short one
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
	if !p.judged { // the account reached the caller's version after prepare
		return decision{}, ErrBusy
	}
	changed := events.PasswordChanged{Hash: p.hash, Session: p.Session}
	return decision{payloads: append(cancelPending(&state, at), changed)}, nil
}

// proof is what prepare found about the current password. It is valid for one hash.
type proof struct {
	hash  string // that the password was compared with; "" if the account has none
	holds bool   // the password is right, or none is needed
	given bool
	// refused is the *TooMany because of which the password was not compared. decide
	// returns it, so that a repeated request finds its receipt first.
	refused error
}

// prove compares a password with an account's hash, unless too many passwords were wrong.
func (h *Accounts) prove(ctx context.Context, by caller, password, hash string) (proof, error) {
	p := proof{hash: hash, holds: hash == "", given: password != ""}
	if p.holds || !p.given {
		return p, nil
	}
	// Each comparison is counted before it is made, so that many at once cannot pass the
	// limit. A right password is subtracted again.
	err := h.guesses.add(ctx, by, h.now())
	if errors.Is(err, ErrTooMany) {
		p.refused = err
		return p, nil
	}
	if err != nil {
		return p, err
	}
	if p.holds, err = verifyPassword(ctx, password, hash); err != nil || p.holds {
		h.guesses.subtract(ctx, by)
	}
	return p, err
}

// check rejects a wrong password. If the account has another hash by now, nothing was proved,
// so the error is ErrBusy and the caller tries again.
func (p proof) check(c *checker, state events.Account) error {
	switch {
	case p.hash != state.PasswordHash:
		return ErrBusy
	case p.refused != nil:
		return p.refused
	case p.holds:
	case !p.given:
		c.reject("/currentPassword", &fault{CodeMustBeSet, "The current password is required."})
	default:
		c.reject("/currentPassword", &fault{CodeIncorrect, "The current password is another one."})
	}
	return nil
}
