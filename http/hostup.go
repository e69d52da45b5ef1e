package http

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"konto/commands"
	"konto/events"
	"konto/projections"
)

// hostupBody lists the members of PATCH /api/v2/me. commands has the rules for the
// values. A member sets the field of the same name.
var hostupBody = placed("", append([]member{
	{name: "firstName"},
	{name: "lastName"},
	{name: "companyName", nullable: true},
	{name: "countryCode"},
	{name: "phoneNumber"},
	{name: "languageCode", check: oneOf("sv", "en", "no", "da", "fi", "de")},
	{name: "vatNumber", nullable: true},
	{name: "invoiceReference", nullable: true},
	{name: "accountType", check: oneOf(events.TypePrivate, events.TypeOrganisation)},
	{name: "registrationIdentifier", nullable: true, members: []member{
		{name: "value", required: true},
		{name: "countryCode"},
		{name: "type", readOnly: true}, // derived from the value
	}},
	{name: "address", members: []member{
		{name: "street", nullable: true},
		{name: "city", nullable: true},
		{name: "postalCode", nullable: true},
		{name: "state", nullable: true},
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
)...))

// readOnly lists members that are known but not accepted.
func readOnly(names ...string) []member {
	members := make([]member, len(names))
	for i, name := range names {
		members[i] = member{name: name, readOnly: true}
	}
	return members
}

// patchMe is PATCH /api/v2/me. Wrong members go into the update as Rejected, so that
// commands adds what it finds wrong itself.
func (x *exchange) patchMe() error {
	var b body
	if err := x.members(&b, hostupBody); err != nil {
		return err
	}
	b.setIdentifier()
	b.update.Rejected, b.update.If = b.wrong, condition(x.r.Header)
	return x.act(&b.update)
}

// setIdentifier composes the registration identifier, which is replaced as a whole,
// of its members. One with a wrong country is left out.
func (b *body) setIdentifier() {
	const identifier, country = "/registrationIdentifier", "/registrationIdentifier/countryCode"
	if b.other(identifier).Made {
		b.update.Profile.RegistrationIdentifier = events.Clear[events.RegistrationIdentifier]()
	}
	wrongCountry := slices.ContainsFunc(b.wrong, func(f commands.FieldError) bool { return f.Field == country })
	if value := b.other(identifier + "/value"); value.Made && !wrongCountry {
		b.update.Profile.RegistrationIdentifier = events.Set(events.RegistrationIdentifier{Value: value.To, CountryCode: b.other(country).To})
	}
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
	changeEmailBody    = placed("", []member{{name: "newEmail", required: true}, {name: "currentPassword"}})
	confirmEmailBody   = placed("", []member{{name: "code", required: true}})
	cancelEmailBody    = []member{}
	changePasswordBody = placed("", []member{{name: "currentPassword"}, {name: "newPassword", required: true}})
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
	b, err := x.strictMembers(changeEmailBody)
	if err != nil {
		return err
	}
	return x.act(commands.RequestEmailChange{
		NewEmail: b.other("/newEmail").To, CurrentPassword: b.other("/currentPassword").To, If: condition(x.r.Header),
	})
}

// confirmEmailChange is POST .../confirm-email-change.
func (x *exchange) confirmEmailChange() error {
	b, err := x.strictMembers(confirmEmailBody)
	if err != nil {
		return err
	}
	return x.act(commands.ConfirmEmailChange{Code: b.other("/code").To, If: condition(x.r.Header)})
}

// cancelEmailChange is POST .../cancel-email-change. It needs no body.
func (x *exchange) cancelEmailChange() error {
	if x.r.ContentLength != 0 || len(x.r.Header["Content-Type"]) > 0 {
		if _, err := x.strictMembers(cancelEmailBody); err != nil {
			return err
		}
	}
	return x.act(commands.CancelEmailChange{If: condition(x.r.Header)})
}

// changePassword is POST .../change-password. It answers after the other sessions
// are closed.
func (x *exchange) changePassword() error {
	b, err := x.strictMembers(changePasswordBody)
	if err != nil {
		return err
	}
	c := commands.ChangePassword{
		CurrentPassword: b.other("/currentPassword").To, NewPassword: b.other("/newPassword").To, If: condition(x.r.Header),
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

// act runs a command on the caller's account and answers with the account after it.
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
