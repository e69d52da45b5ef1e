package commands

import (
	"context"
	"slices"
	"strings"
	"time"

	"konto/events"
)

// Update changes profile fields and the email address, all in one append. An
// address in it, the present one too, ends a pending change of address, unless
// it asks for the address that is pending with VerifyEmail.
// Values are as the caller sent them: decide checks and normalises them, because
// some rules need the account (the country that a phone number is read in).
type Update struct {
	Profile events.ProfileUpdated
	Email   events.Change[string]
	// Name is the generic contract's one name: an organisation's company name,
	// a person's first and last name, parted at the last space.
	Name events.Change[string]
	// Rejected is what the contract already found wrong; decide adds to it, so
	// that the caller learns of every wrong field at once. What it says of a value
	// that is in the update does not count if the account has that value already.
	Rejected []FieldError
	// AddressNeeds names the members of the address, by pointer, without which
	// none of it changes: when one of them is wrong, a partial update leaves all out.
	AddressNeeds []string
	// Partial stores the accepted fields even if others are rejected
	// (Payway's atomic=false).
	Partial bool
	// FormatsDecided: the contract's own formats have decided what is valid
	// (Payway). Swedish numbers are then held against the calendar alone, and a
	// phone number that cannot be normalised is kept as given.
	FormatsDecided bool
	// AdministratorEmail allows changing an administrator's address.
	AdministratorEmail bool
	// VerifyEmail turns a new address into a request, as RequestEmailChange
	// does: the address stays until the code mailed to the new one is confirmed.
	VerifyEmail bool
	// EmailNeedsProof refuses a new address with ErrEmailNeedsProof: the caller
	// would have to give the current password, for which there is RequestEmailChange.
	EmailNeedsProof bool
	If              Condition

	now    time.Time
	ticket ticket // with VerifyEmail
}

// decide checks in the order that the contracts demand: what is wrong
// with the request, whether the account exists, whether the caller may, whether
// it is at the caller's version. Then it reduces the update to what really changes.
func (u Update) decide(state events.Account) (decision, error) {
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
func (u *Update) prepare(ctx context.Context, h *Accounts, by caller) (_ Command, err error) {
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

// leaveOut removes a field from a partial update, because its value is taken. It returns
// false if the call is no such update.
func (c *call) leaveOut(field string) bool {
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

// changed is the value that a field has after the change.
func changed(change events.Change[string], present string) string {
	if change.Made {
		return change.To
	}
	return present
}

// Name is the generic contract's one name of an account: an organisation's is
// its company name, a person's is the first and the last name. The other kind
// of name stands in when its own is missing.
func Name(p *events.Profile) string {
	if p.AccountType == events.TypeOrganisation && p.CompanyName != "" {
		return p.CompanyName
	}
	if name := PersonName(p); name != "" {
		return name
	}
	return p.CompanyName
}

// PersonName is the first and the last name, as far as they are set.
func PersonName(p *events.Profile) string {
	if p.FirstName == "" || p.LastName == "" {
		return p.FirstName + p.LastName
	}
	return p.FirstName + " " + p.LastName
}

// setName turns that name into the fields that every contract shares. A
// person's last word is the last name; a single word is a first name.
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
