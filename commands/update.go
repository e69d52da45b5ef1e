package commands

import (
	"context"
	"slices"

	"konto/events"
)

// decideUpdate checks in the order that the contracts demand: what is wrong
// with the request, whether the account exists, whether the caller may, whether
// it is at the caller's version. Then it reduces the update to what really changes.
func decideUpdate(state events.Account, u Update) (decision, error) {
	wrong := u.check(&state)
	if len(wrong) > 0 && !u.Partial {
		return decision{}, &Invalid{Fields: wrong}
	}
	if !state.Exists() {
		return decision{}, ErrNotFound
	}
	// Compared letter by letter: another spelling of the same address is a change
	// that third parties must hear of, although its claim stays the same.
	newEmail := u.Email.Made && u.Email.To != state.Email
	refused := state.Administrator && !u.AdministratorEmail
	if newEmail && refused {
		if !u.Partial {
			return decision{}, ErrAdministratorEmail
		}
		wrong = append(wrong, FieldError{"/email", CodeNotAllowed, "An administrator's email address cannot be changed here."})
	}
	pending := &state.EmailChange
	asksAgain := u.VerifyEmail && pending.Pending(u.now) && pending.NewEmail == u.Email.To
	if newEmail && u.EmailNeedsProof && !asksAgain {
		return decision{}, ErrEmailNeedsProof
	}
	if newEmail && u.VerifyEmail {
		if err := MayChangeEmail(&state); err != nil {
			return decision{}, err
		}
	}
	if err := existsAt(state, u.If); err != nil {
		return decision{}, err
	}
	d := decision{rejected: wrong}
	if changes := u.Profile.Reduced(state.Profile); !changes.IsZero() {
		d.payloads = append(d.payloads, changes)
	}
	switch {
	case !u.Email.Made || refused:
	case newEmail && asksAgain:
		// A form that sends all its fields again must not void the code under way.
	case newEmail && u.VerifyEmail:
		if err := u.ticket.check(&state, fieldEmail); err != nil {
			return decision{}, err
		}
		d.payloads = append(d.payloads, u.ticket.requested(u.Email.To))
	case newEmail:
		d.payloads = append(d.payloads, withdrawn(&state, u.now)...)
		d.payloads = append(d.payloads, events.EmailChanged{
			PreviousEmail: state.Email, NewEmail: u.Email.To, How: events.EmailDirect,
		})
	case !u.EmailNeedsProof: // the present address: the caller wants no other one
		d.payloads = append(d.payloads, withdrawn(&state, u.now)...)
	}
	return d, nil
}

// prepare tells the update what time it is, and makes the ticket that a new address with
// VerifyEmail needs. Most updates need neither, and are not copied.
func (u *Update) prepare(ctx context.Context, h *Accounts, by guesser) (_ Command, err error) {
	p := &u.Profile
	dated := p.BirthDate.Made || p.SocialSecurityNumber.Made || p.CompanyRegistrationNumber.Made || p.RegistrationIdentifier.Made
	if !dated && !u.Email.Made {
		return u, nil
	}
	prepared := *u
	prepared.now = h.now()
	if u.Email.Made && u.VerifyEmail && !u.EmailNeedsProof {
		prepared.ticket, err = h.newTicket(ctx, by.account, u.Email.To)
	}
	return &prepared, err
}

// check brings the update's values into their stored form and returns
// everything that is wrong, the contract's own findings first. A change that is
// wrong is dropped, which leaves the rest to a partial update.
//
// What the account has already is taken out before anything is judged: a form
// sends all its fields back, and an old value may break a newer rule, or the
// rule of another contract than the one that set it.
func (u *Update) check(state *events.Account) []FieldError {
	c := checker{now: u.now, wrong: u.dropUnchanged(state)}
	if u.Email.To == "" || u.Email.To != state.Email {
		c.requiredIfMade("/email", &u.Email, emailAddress)
	}
	c.requiredIfMade("/name", &u.Name, nil)
	c.profile(&u.Profile, state.Profile, u.FormatsDecided)
	if u.Name.Made {
		setName(&u.Profile, u.Name.To, changed(u.Profile.AccountType, state.Profile.AccountType))
	}
	if slices.ContainsFunc(c.wrong, func(f FieldError) bool { return slices.Contains(u.AddressNeeds, f.Field) }) {
		u.Profile.Address = events.AddressUpdated{}
	}
	return c.wrong
}

// dropUnchanged takes the changes out of the update that would leave the account
// as it is. It returns the contract's findings without those about such values,
// and takes out the values that the others are about.
//
// An unchanged address stays in the update: it makes no event, but tells that
// the caller wants the address as it is.
func (u *Update) dropUnchanged(state *events.Account) (wrong []FieldError) {
	sent := u.Profile
	u.Profile = u.Profile.Reduced(state.Profile)
	if u.Name.To != "" && u.Name.To == Name(&state.Profile) {
		u.Name = events.Change[string]{}
	}
	for _, f := range u.Rejected {
		change := u.Profile.Change(f.Field)
		unchanged := change != nil && sent.Change(f.Field).Made && !change.Made
		if f.Field == fieldEmail {
			change, unchanged = &u.Email, u.Email.To != "" && u.Email.To == state.Email
		}
		if unchanged && f.Code != CodeDuplicateField {
			continue
		}
		if change != nil {
			*change = events.Change[string]{}
		}
		wrong = append(wrong, f)
	}
	return wrong
}

// rejecting is the partial update without a field that turned out to be taken.
// ok is false when the update does not change that field.
func (u Update) rejecting(field string) (rest *Update, ok bool) {
	var change *events.Change[string]
	switch field {
	case fieldEmail:
		change = &u.Email
	case fieldSocialSecurityNumber:
		change = &u.Profile.SocialSecurityNumber
	case fieldCustomerNumber:
		change = &u.Profile.CustomerNumber
	default:
		return nil, false
	}
	if !change.Made {
		return nil, false
	}
	*change = events.Change[string]{}
	u.Rejected = append(slices.Clip(u.Rejected), FieldError{field, CodeTaken, "The value is already in use by another account."})
	return &u, true
}

// changed is the value that a field has after the change.
func changed(change events.Change[string], present string) string {
	if change.Made {
		return change.To
	}
	return present
}
