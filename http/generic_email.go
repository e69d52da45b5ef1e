package http

import (
	"fmt"

	"konto/commands"
)

// EmailChangePolicy says what a new email address in PATCH /v1/account does.
type EmailChangePolicy string

const (
	// EmailDirect makes it the account's at once. It is the default.
	EmailDirect EmailChangePolicy = "direct"
	// EmailVerify mails a code there. The address is the account's once the code
	// is confirmed, by POST /v1/account/confirm-email or HostUp's action.
	EmailVerify EmailChangePolicy = "verify"
)

// defaultElevatedRole lets an administrator who impersonates an account update
// it through the generic contract, and use HostUp's actions.
const defaultElevatedRole = "account-admin"

// ParseEmailChangePolicy reads a policy's name; "" is EmailDirect.
func ParseEmailChangePolicy(name string) (EmailChangePolicy, error) {
	switch policy := EmailChangePolicy(name); policy {
	case "":
		return EmailDirect, nil
	case EmailDirect, EmailVerify:
		return policy, nil
	}
	return "", fmt.Errorf("email change policy %q is neither direct nor verify", name)
}

// confirmEmail is POST /v1/account/confirm-email.
func (x *exchange) confirmEmail() error {
	b, err := x.action(confirmEmailBody)
	if err != nil {
		return err
	}
	out, err := x.do(x.who.Account, commands.ConfirmEmailChange{Code: b.code.To, If: condition(x.r.Header)})
	if err != nil {
		return err
	}
	return x.answerAt(out.Account.Version, newGenericAccount(out.Account))
}
