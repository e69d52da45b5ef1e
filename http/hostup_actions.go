package http

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"konto/commands"
	"konto/events"
)

// The bodies of the actions.
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

// actionAccess is what all actions ask of the caller. They decide how the account
// is signed in to, so an administrator needs the elevated role for each.
var actionAccess = access{scope: "write:account", elevated: true}

// sessionsTimeout bounds the wait for other sessions to be closed. The follower
// needs milliseconds; after this time it has stopped or is far behind.
const sessionsTimeout = 10 * time.Second

// mayChangeEmail tells why the caller may not change the account's address. The
// same checks answer the action itself: access in admit, the rest in commands.
func mayChangeEmail(a *events.Account, who *events.Credential, elevated string) error {
	if err := actionAccess.check(who, elevated); err != nil {
		return err
	}
	return commands.MayChangeEmail(a)
}

func (x *exchange) changeEmail() error {
	b, err := x.action(changeEmailBody)
	if err != nil {
		return err
	}
	return x.act(commands.RequestEmailChange{
		NewEmail: b.newEmail.To, CurrentPassword: b.currentPassword.To, If: condition(x.r.Header),
	})
}

func (x *exchange) confirmEmailChange() error {
	b, err := x.action(confirmEmailBody)
	if err != nil {
		return err
	}
	return x.act(commands.ConfirmEmailChange{Code: b.code.To, If: condition(x.r.Header)})
}

// cancelEmailChange needs no body.
func (x *exchange) cancelEmailChange() error {
	if x.r.ContentLength != 0 || len(x.r.Header["Content-Type"]) > 0 {
		if _, err := x.action(cancelEmailBody); err != nil {
			return err
		}
	}
	return x.act(commands.CancelEmailChange{If: condition(x.r.Header)})
}

// changePassword answers once the other sessions are closed.
func (x *exchange) changePassword() error {
	b, err := x.action(changePasswordBody)
	if err != nil {
		return err
	}
	c := commands.ChangePassword{
		CurrentPassword: b.currentPassword.To, NewPassword: b.password.To, If: condition(x.r.Header),
	}
	if x.who.Kind == events.KindSession {
		c.Session = x.who.ID
	}
	out, err := x.do(x.who.Account, c)
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

// action reads an action's body.
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

// act carries an action out and answers with the account after it.
func (x *exchange) act(c commands.Command) error {
	out, err := x.do(x.who.Account, c)
	if err != nil {
		return err
	}
	return x.answerMe(out.Account)
}

// answerMe answers an update with the refreshed AccountMe. Delegated sessions,
// which would show a parent's address, are not let in.
func (x *exchange) answerMe(a *events.Account) error {
	return x.answerAt(a.Version, accountMe{account: a, who: &x.who, elevated: x.ElevatedRole, now: x.at})
}

// actionRoutes are the actions of HostUp's account.
func actionRoutes() []route {
	const actions = "/api/v2/me/actions/"
	return []route{
		{http.MethodPost, actions + "change-email", &hostup, actionAccess, (*exchange).changeEmail},
		{http.MethodPost, actions + "confirm-email-change", &hostup, actionAccess, (*exchange).confirmEmailChange},
		{http.MethodPost, actions + "cancel-email-change", &hostup, actionAccess, (*exchange).cancelEmailChange},
		{http.MethodPost, actions + "change-password", &hostup, actionAccess, (*exchange).changePassword},
	}
}
