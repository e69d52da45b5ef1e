package http

import (
	"errors"

	"konto/projections"
)

// getMe is GET /api/v2/me.
func (x *exchange) getMe() error {
	a, err := x.Reader.Account(x.r.Context(), x.who.Account)
	if err != nil {
		return err
	}
	parent, err := x.parentEmail()
	if err != nil {
		return err
	}
	return x.answerRead(a.Version, func() any { return accountMe{&a, &x.who, x.ElevatedRole, parent, x.at} })
}

// patchMe is PATCH /api/v2/me.
func (x *exchange) patchMe() error {
	update, err := x.hostupUpdate()
	if err != nil {
		return err
	}
	out, err := x.do(x.who.Account, update)
	if err != nil {
		return err
	}
	return x.answerMe(out.Account)
}

// parentEmail is the address of the account that delegated access to the
// caller; "" when none did, or when it is gone.
func (x *exchange) parentEmail() (string, error) {
	if !isDelegated(&x.who) {
		return "", nil
	}
	parent, err := x.Reader.Account(x.r.Context(), x.who.Parent)
	if errors.Is(err, projections.ErrNoAccount) {
		return "", nil
	}
	return parent.Email, err
}
