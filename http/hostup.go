package http

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"konto/commands"
	"konto/events"
	"konto/projections"
)

// hostupBody lists the members of PATCH /api/v2/me. If a member may be null, null
// clears it. commands has the rules for the values.
var hostupBody = append([]member{
	{name: "firstName", to: func(b *body) *change { return &b.update.Profile.FirstName }},
	{name: "lastName", to: func(b *body) *change { return &b.update.Profile.LastName }},
	nullable("companyName", func(b *body) *change { return &b.update.Profile.CompanyName }),
	{name: "countryCode", to: func(b *body) *change { return &b.update.Profile.CountryCode }},
	{name: "phoneNumber", to: func(b *body) *change { return &b.update.Profile.PhoneNumber }},
	{name: "languageCode", check: oneOf("sv", "en", "no", "da", "fi", "de"),
		to: func(b *body) *change { return &b.update.Profile.LanguageCode }},
	nullable("vatNumber", func(b *body) *change { return &b.update.Profile.VATNumber }),
	nullable("invoiceReference", func(b *body) *change { return &b.update.Profile.InvoiceReference }),
	{name: "accountType", check: oneOf(events.TypePrivate, events.TypeOrganisation),
		to: func(b *body) *change { return &b.update.Profile.AccountType }},
	{name: "registrationIdentifier",
		clear: func(b *body) {
			b.update.Profile.RegistrationIdentifier = events.Clear[events.RegistrationIdentifier]()
		},
		members: []member{
			{name: "value", required: true, to: func(b *body) *change { return &b.identifier }},
			{name: "countryCode", to: func(b *body) *change { return &b.identifierCountry }},
			{name: "type", readOnly: true}, // derived from the value
		}},
	{name: "address", members: []member{
		nullable("street", func(b *body) *change { return &b.update.Profile.Address.Street }),
		nullable("city", func(b *body) *change { return &b.update.Profile.Address.City }),
		nullable("postalCode", func(b *body) *change { return &b.update.Profile.Address.PostalCode }),
		nullable("state", func(b *body) *change { return &b.update.Profile.Address.State }),
	}},
}, readOnly(
	// The other members of AccountMe. They are read-only, or belong to other services.
	"id", "name", "email", "currencyCode", "profileRequirements", "verified", "adminId", "isAdmin", "isContact",
	"canPlaceOrders", "impersonating", "authType", "shouldMigrateMFA", "bankidUserName", "scopes", "canViewInvoices",
	"canViewTickets", "canAccessCdn", "canRequestEpp", "adminUsername", "adminRoles", "adminLanguage", "parentClientId",
	"parentEmail", "isBillingSso", "isDelegatedAccess", "hasDelegatedGrants", "hasOwnedAccounts", "delegatedLabel",
	"delegatedGrantId", "uiBanners", "emailChangeState", "actions",
	// Members that the contract's introduction names.
	"accountId", "password", "mfa", "mfaEnabled", "bankIdOnlyLogin", "bankidOnlyLogin", "bankIdPersonnummer",
	"bankidPersonnummer", "personnummer",
)...)

type change = events.Change[string]

// nullable is a text that null clears.
func nullable(name string, to func(*body) *change) member {
	return member{name: name, to: to, clear: func(b *body) { *to(b) = events.Clear[string]() }}
}

// readOnly lists members that are known but not accepted.
func readOnly(names ...string) []member {
	members := make([]member, len(names))
	for i, name := range names {
		members[i] = member{name: name, readOnly: true}
	}
	return members
}

// hostupUpdate reads the update. Wrong members go into it as Rejected, so that
// commands adds what it finds wrong itself.
func (x *exchange) hostupUpdate() (*commands.Update, error) {
	data, err := x.jsonBody()
	if err != nil {
		return nil, err
	}
	var b body
	if err := b.read(data, hostupBody); err != nil {
		return nil, err
	}
	if b.identifier.Made && !b.isWrong("/registrationIdentifier/countryCode") {
		b.update.Profile.RegistrationIdentifier = events.Set(events.RegistrationIdentifier{
			Value: b.identifier.To, CountryCode: b.identifierCountry.To,
		})
	}
	b.update.Rejected, b.update.If = b.wrong, condition(x.r.Header)
	return &b.update, nil
}

// getMe is GET /api/v2/me.
func (x *exchange) getMe() error {
	a, err := x.Reader.Account(x.r.Context(), x.caller.Account)
	if err != nil {
		return err
	}
	parent, err := x.parentEmail()
	if err != nil {
		return err
	}
	return x.answerRead(a.Version, func() any { return accountMe{&a, &x.caller, x.ElevatedRole, parent, x.at} })
}

// patchMe is PATCH /api/v2/me.
func (x *exchange) patchMe() error {
	update, err := x.hostupUpdate()
	if err != nil {
		return err
	}
	out, err := x.do(x.caller.Account, update)
	if err != nil {
		return err
	}
	return x.answerMe(out.Account)
}

// parentEmail returns the address of the account that delegated access to the
// caller. It is "" if there is none, or if that account was erased.
func (x *exchange) parentEmail() (string, error) {
	if !isDelegated(&x.caller) {
		return "", nil
	}
	parent, err := x.Reader.Account(x.r.Context(), x.caller.Parent)
	if errors.Is(err, projections.ErrNoAccount) {
		return "", nil
	}
	return parent.Email, err
}

// The members of the actions' bodies.
var (
	changeEmailBody = []member{
		{name: "newEmail", required: true, to: func(b *body) *change { return &b.newEmail }},
		{name: "currentPassword", to: func(b *body) *change { return &b.currentPassword }},
	}
	confirmEmailBody   = []member{{name: "code", required: true, to: func(b *body) *change { return &b.code }}}
	cancelEmailBody    = []member{}
	changePasswordBody = []member{
		{name: "currentPassword", to: func(b *body) *change { return &b.currentPassword }},
		{name: "newPassword", required: true, to: func(b *body) *change { return &b.password }},
	}
)

// actionAccess applies to all actions. They change how a user signs in to the
// account, so an administrator needs the elevated role for each.
var actionAccess = access{scope: "write:account", elevated: true}

// sessionsTimeout limits the wait until other sessions are closed. The read model
// needs milliseconds for it. After this time it has stopped or is far behind.
const sessionsTimeout = 10 * time.Second

// mayChangeEmail returns why the caller may not change the account's address, or
// nil. The action itself makes the same checks, in admit and in commands.
func mayChangeEmail(a *events.Account, caller *events.Credential, elevated string) error {
	if err := actionAccess.check(caller, elevated); err != nil {
		return err
	}
	return commands.MayChangeEmail(a)
}

// changeEmail is POST .../change-email.
func (x *exchange) changeEmail() error {
	b, err := x.action(changeEmailBody)
	if err != nil {
		return err
	}
	return x.act(commands.RequestEmailChange{
		NewEmail: b.newEmail.To, CurrentPassword: b.currentPassword.To, If: condition(x.r.Header),
	})
}

// confirmEmailChange is POST .../confirm-email-change.
func (x *exchange) confirmEmailChange() error {
	b, err := x.action(confirmEmailBody)
	if err != nil {
		return err
	}
	return x.act(commands.ConfirmEmailChange{Code: b.code.To, If: condition(x.r.Header)})
}

// cancelEmailChange is POST .../cancel-email-change. It needs no body.
func (x *exchange) cancelEmailChange() error {
	if x.r.ContentLength != 0 || len(x.r.Header["Content-Type"]) > 0 {
		if _, err := x.action(cancelEmailBody); err != nil {
			return err
		}
	}
	return x.act(commands.CancelEmailChange{If: condition(x.r.Header)})
}

// changePassword is POST .../change-password. It answers after the other sessions
// are closed.
func (x *exchange) changePassword() error {
	b, err := x.action(changePasswordBody)
	if err != nil {
		return err
	}
	c := commands.ChangePassword{
		CurrentPassword: b.currentPassword.To, NewPassword: b.password.To, If: condition(x.r.Header),
	}
	if x.caller.Kind == events.KindSession {
		c.Session = x.caller.ID
	}
	out, err := x.do(x.caller.Account, c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), sessionsTimeout)
	defer cancel()
	if err := x.Reader.Follower.WaitFor(ctx, out.Account.Position); err != nil {
		return fmt.Errorf("wait until sessions are closed: %w", err)
	}
	return x.answerMe(out.Account)
}

// action reads the body of an action.
func (x *exchange) action(members []member) (*body, error) {
	data, err := x.jsonBody()
	if err != nil {
		return nil, err
	}
	var b body
	if err := b.read(data, members); err != nil {
		return nil, err
	}
	if len(b.wrong) > 0 {
		return nil, &rejection{b.wrong}
	}
	return &b, nil
}

// act runs the command of an action and answers with the account after it.
func (x *exchange) act(c commands.Command) error {
	out, err := x.do(x.caller.Account, c)
	if err != nil {
		return err
	}
	return x.answerMe(out.Account)
}

// answerMe answers an update with the new AccountMe. It needs no parent's address,
// because delegated sessions cannot update.
func (x *exchange) answerMe(a *events.Account) error {
	return x.answerAt(a.Version, accountMe{account: a, caller: &x.caller, elevated: x.ElevatedRole, now: x.at})
}

// actionRoutes lists the actions on HostUp's account.
func actionRoutes() []route {
	const actions = "/api/v2/me/actions/"
	return []route{
		{http.MethodPost, actions + "change-email", &hostup, actionAccess, (*exchange).changeEmail},
		{http.MethodPost, actions + "confirm-email-change", &hostup, actionAccess, (*exchange).confirmEmailChange},
		{http.MethodPost, actions + "cancel-email-change", &hostup, actionAccess, (*exchange).cancelEmailChange},
		{http.MethodPost, actions + "change-password", &hostup, actionAccess, (*exchange).changePassword},
	}
}
