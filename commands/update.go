package commands

import (
	"context"
	"slices"
	"strings"
	"time"

	"konto/events"
)

// Update changes profile fields and the email address, all in one append. An email address in
// it, even the present one, ends a pending email change, unless it requests the address that
// is pending with VerifyEmail.
// Values are as the caller sent them. decide checks and normalizes them, because some rules
// depend on the account (a phone number is read in the account's country).
type Update struct {
	Profile events.ProfileUpdated
	Email   events.Change[string]
	// Name is the generic contract's single name: an organisation's company name, or a
	// person's first and last name, split at the last space.
	Name events.Change[string]
	// Rejected is what the contract already found wrong. decide adds to it, so that the
	// caller learns of every wrong field at once. A finding about a value that is in the
	// update does not count if the account has that value already.
	Rejected []FieldError
	// AddressNeeds are JSON pointers of the address members that a partial update needs:
	// if one of them is wrong, no member of the address changes.
	AddressNeeds []string
	// Partial stores the accepted fields even if others are rejected (Payway's
	// atomic=false).
	Partial bool
	// FormatsDecided means that the contract's own formats have decided what is valid
	// (Payway). Then only the calendar decides about Swedish numbers, and a phone number
	// that cannot be normalized is stored as given.
	FormatsDecided bool
	// AdministratorEmail allows changing an administrator's address.
	AdministratorEmail bool
	// VerifyEmail makes a new address a request, as RequestEmailChange does: the address
	// changes when the code that is mailed to the new one is confirmed.
	VerifyEmail bool
	// EmailNeedsProof refuses a new address with ErrEmailNeedsProof: this caller must give
	// the current password, with RequestEmailChange.
	EmailNeedsProof bool
	If              Condition

	emailRequest emailRequest // with VerifyEmail
}

// decide checks in the order that the contracts require: the request, whether the account
// exists, whether the caller may do this, the version. Then it reduces the update to what
// changes the account.
func (u Update) decide(state events.Account, at time.Time) (decision, error) {
	wrong := u.check(&state, at)
	if len(wrong) > 0 && !u.Partial {
		return decision{}, &Invalid{Fields: wrong}
	}
	if !state.Exists() {
		return decision{}, ErrNotFound
	}
	// Another spelling of the same address is a change that third parties are told of,
	// although its claim stays the same.
	newEmail := u.Email.Made && u.Email.To != state.Email
	refused := state.Administrator && !u.AdministratorEmail
	if newEmail && refused {
		if !u.Partial {
			return decision{}, ErrAdministratorEmail
		}
		wrong = append(wrong, FieldError{"/email", CodeNotAllowed, "An administrator's email address cannot be changed here."})
	}
	pending := &state.EmailChange
	asksAgain := u.VerifyEmail && pending.Pending(at) && pending.NewEmail == u.Email.To
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
		// A form that sends all its fields again must not invalidate the mailed code.
	case newEmail && u.VerifyEmail:
		if err := u.emailRequest.check(&state, fieldEmail); err != nil {
			return decision{}, err
		}
		d.payloads = append(d.payloads, u.emailRequest.requested(u.Email.To))
	case newEmail:
		d.payloads = append(d.payloads, cancelPending(&state, at)...)
		d.payloads = append(d.payloads, events.EmailChanged{
			PreviousEmail: state.Email, NewEmail: u.Email.To, How: events.EmailDirect,
		})
	case !u.EmailNeedsProof: // the present address: the caller does not want another one
		d.payloads = append(d.payloads, cancelPending(&state, at)...)
	}
	return d, nil
}

// prepare makes the email request that a new address with VerifyEmail needs. Most updates
// need none and are not copied.
func (u *Update) prepare(ctx context.Context, h *Accounts, by caller) (_ Command, err error) {
	if !u.Email.Made || !u.VerifyEmail || u.EmailNeedsProof {
		return u, nil
	}
	prepared := *u
	prepared.emailRequest, err = h.newEmailRequest(ctx, by.account, u.Email.To)
	return &prepared, err
}

// check brings the update's values into their stored form and returns everything that is
// wrong, the contract's own findings first. Wrong changes are removed, so that a partial
// update has the rest.
//
// Values that the account has already are removed before anything is checked: a form sends
// all its fields back, and an old value may break a newer rule, or the rule of another
// contract than the one that set it.
func (u *Update) check(state *events.Account, at time.Time) []FieldError {
	c := checker{now: at, wrong: u.dropUnchanged(state)}
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

// dropUnchanged removes the changes that would leave the account as it is. It returns the
// contract's findings without those about such values, and removes the values that the
// other findings are about.
//
// An unchanged email address stays in the update. It makes no event, but it means that the
// caller wants the address as it is.
func (u *Update) dropUnchanged(state *events.Account) (wrong []FieldError) {
	sent := u.Profile
	u.Profile = u.Profile.Reduced(state.Profile)
	if u.Name.To != "" && u.Name.To == Name(&state.Profile) {
		u.Name = events.Change[string]{}
	}
	for _, f := range u.Rejected {
		change, before := u.Change(f.Field), sent.Change(f.Field)
		unchanged := before != nil && before.Made && !change.Made ||
			f.Field == fieldEmail && u.Email.To != "" && u.Email.To == state.Email
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

// Change returns the change of the text at a JSON pointer into the update, such as /email or
// /address/street, or nil if there is no such text.
func (u *Update) Change(field string) *events.Change[string] {
	switch field {
	case fieldEmail:
		return &u.Email
	case "/name":
		return &u.Name
	}
	return u.Profile.Change(field)
}

// leaveOut removes a field from a partial update, because its value is taken. It returns
// false if the call is no such update.
func (c *call) leaveOut(field string) bool {
	u, ok := c.command.(*Update)
	if !ok || !u.Partial {
		return false
	}
	rest := *u
	change := rest.Change(field)
	if change == nil || !change.Made {
		return false
	}
	*change = events.Change[string]{}
	rest.Rejected = append(slices.Clip(u.Rejected), FieldError{field, CodeTaken, "The value is already in use by another account."})
	c.command = &rest
	return true
}

// changed is the value of a field after the change.
func changed(change events.Change[string], present string) string {
	if change.Made {
		return change.To
	}
	return present
}

// Name is the generic contract's single name of an account: the company name of an
// organisation, the first and last name of a person. If that name is not set, it is the
// other one.
func Name(p *events.Profile) string {
	if p.AccountType == events.TypeOrganisation && p.CompanyName != "" {
		return p.CompanyName
	}
	if name := PersonName(p); name != "" {
		return name
	}
	return p.CompanyName
}

// PersonName is the first and last name, as far as they are set.
func PersonName(p *events.Profile) string {
	if p.FirstName == "" || p.LastName == "" {
		return p.FirstName + p.LastName
	}
	return p.FirstName + " " + p.LastName
}

// setName splits a single name into the fields that all contracts share. The last word of a
// person's name is the last name. A single word is a first name.
func setName(u *events.ProfileUpdated, name, accountType string) {
	if accountType == events.TypeOrganisation {
		u.CompanyName = events.Set(name)
		return
	}
	first, last := name, ""
	if at := strings.LastIndexByte(name, ' '); at >= 0 && !IsBlank(name[:at]) && !IsBlank(name[at:]) {
		first, last = strings.TrimSpace(name[:at]), name[at+1:]
	}
	u.FirstName, u.LastName = events.Set(first), events.Set(last)
}
