package http

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"konto/commands"
	"konto/events"
	"konto/projections"
)

// genericBody lists the members of PATCH /v1/account. null clears a setting.
var genericBody = placed("", []member{
	{name: "name"},
	{name: "email"},
	{name: "settings", members: []member{
		{name: "currency", field: "/currencyCode", nullable: true},
		{name: "timezone", field: "/timeZone", nullable: true},
		{name: "language", field: "/languageCode", nullable: true},
	}},
})

// genericAccount is the account, with its members in the order of the contract's
// example.
type genericAccount struct {
	ID        string          `json:"id"`
	Email     string          `json:"email"`
	Name      orNull          `json:"name"`
	Type      string          `json:"type"`   // individual or business
	Status    string          `json:"status"` // active: an erased account is not shown
	CreatedAt seconds         `json:"created_at"`
	UpdatedAt seconds         `json:"updated_at"`
	Settings  genericSettings `json:"settings"`
}

type genericSettings struct {
	Currency orNull `json:"currency"`
	Timezone orNull `json:"timezone"`
	Language orNull `json:"language"`
}

// seconds is a time in UTC in the generic contract's form: 2025-01-12T09:30:00Z.
type seconds time.Time

func (t seconds) MarshalText() ([]byte, error) {
	return time.Time(t).UTC().AppendFormat(nil, "2006-01-02T15:04:05Z"), nil
}

func newGenericAccount(a *events.Account) *genericAccount {
	p := &a.Profile
	g := &genericAccount{
		ID: publicID("acct_", a.ID), Email: a.Email, Name: orNull(commands.Name(p)), Type: "individual", Status: "active",
		CreatedAt: seconds(a.Opened), UpdatedAt: seconds(a.Updated),
		Settings: genericSettings{
			Currency: orNull(p.CurrencyCode), Timezone: orNull(p.TimeZone), Language: orNull(p.LanguageCode),
		},
	}
	if p.AccountType == events.TypeOrganisation {
		g.Type = "business"
	}
	return g
}

// getAccount is GET /v1/account.
func (x *exchange) getAccount() error {
	a, err := x.Reader.Account(x.r.Context(), x.caller.Account)
	if err != nil {
		return err
	}
	return x.answerRead(a.Version, func() any { return newGenericAccount(&a) })
}

// patchAccount is PATCH /v1/account. The contract does not forbid to change the
// address of an administrator.
func (x *exchange) patchAccount() error {
	b, err := x.strictMembers(genericBody)
	if err != nil {
		return err
	}
	b.update.AdministratorEmail, b.update.If = true, condition(x.r.Header)
	b.update.VerifyEmail = x.EmailChangePolicy == EmailVerify
	b.update.EmailNeedsProof = isUserSession(&x.caller) && !x.SessionEmailChange
	return x.actGeneric(&b.update)
}

// actGeneric runs a command on the caller's account and answers with the account
// after it.
func (x *exchange) actGeneric(c commands.Command) error {
	out, err := x.do(x.caller.Account, c)
	if err != nil {
		return err
	}
	return x.answerAt(out.Account.Version, newGenericAccount(out.Account))
}

// EmailChangePolicy says what a new email address in PATCH /v1/account does.
type EmailChangePolicy string

const (
	// EmailDirect changes the address at once. It is the default.
	EmailDirect EmailChangePolicy = "direct"
	// EmailVerify mails a code to the new address. The address changes when the code
	// is confirmed, by POST /v1/account/confirm-email or by HostUp's action.
	EmailVerify EmailChangePolicy = "verify"
)

// defaultElevatedRole is the role that an administrator who impersonates an account
// needs for updates through the generic contract and for HostUp's actions.
const defaultElevatedRole = "account-admin"

// ParseEmailChangePolicy parses the name of a policy. "" is EmailDirect.
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
	b, err := x.strictMembers(confirmEmailBody)
	if err != nil {
		return err
	}
	return x.actGeneric(commands.ConfirmEmailChange{Code: b.other("/code").To, If: condition(x.r.Header)})
}

// generic is the generic contract. It also answers paths that belong to no contract.
var generic = contract{
	name:  "generic",
	media: mediaJSON,
	names: namesOf(genericBody),
	errors: errorTable{
		{errNoCredential, http.StatusUnauthorized, "unauthorized", "An access token is required."},
		{projections.ErrUnauthenticated, http.StatusUnauthorized, "unauthorized", "The access token is unknown, expired or revoked."},
		{errScheme, http.StatusUnauthorized, "unauthorized", "The Authorization header must be Bearer, a space and the token, once. A token alone and other schemes, such as Basic, do not count."},
		{errForbidden, http.StatusForbidden, "unauthorized", "The provided token does not have permission to update this account."},
		{errDelegated, http.StatusForbidden, "unauthorized", "The provided token does not have permission to update this account."},
		{errNotElevated, http.StatusForbidden, "unauthorized", "The provided token does not have permission to update this account."},
		{commands.ErrEmailNeedsProof, http.StatusForbidden, "unauthorized", "The provided token does not have permission to update this account. A session cannot change the email address here: that needs the current password, or an API key."},
		{errScope, http.StatusForbidden, "unauthorized", "The provided token does not have permission to update this account."},
		{commands.ErrAdministratorEmail, http.StatusForbidden, "unauthorized", "The provided token does not have permission to update this account."},
		{errContentType, http.StatusUnsupportedMediaType, "invalid_request", "The Content-Type must be application/json, or application/merge-patch+json for PATCH, in UTF-8."},
		{errContentEncoding, http.StatusUnsupportedMediaType, "invalid_request", "The request body must come without a Content-Encoding."},
		{errMalformed, http.StatusBadRequest, "invalid_request", "The request body is not one valid JSON object in UTF-8."},
		{commands.ErrInvalid, http.StatusBadRequest, "invalid_request", "The request body contains invalid or missing fields."},
		{commands.ErrTaken, http.StatusConflict, "email_exists", "This email is already linked to another account."},
		{commands.ErrBusy, http.StatusConflict, "conflict", "The account is being changed by others; try again."},
		{commands.ErrPendingOrder, http.StatusConflict, "pending_order", "The email address cannot be changed while an order is pending."},
		{commands.ErrNoEmailChange, http.StatusConflict, "no_pending_email_change", "No change of the email address is pending, or its code has expired."},
		{errNoRoute, http.StatusNotFound, "not_found", "There is no such endpoint."},
		{commands.ErrNotFound, http.StatusNotFound, "not_found", "The account does not exist."},
		{projections.ErrNoAccount, http.StatusNotFound, "not_found", "The account does not exist."},
		{errMethod, http.StatusMethodNotAllowed, "method_not_allowed", "The endpoint does not take this method."},
		{errTooLarge, http.StatusRequestEntityTooLarge, "payload_too_large", "The request body is larger than 64 KiB."},
		{commands.ErrVersion, http.StatusPreconditionFailed, "precondition_failed", "The account's version does not meet If-Match or If-None-Match."},
		{errIdempotencyKey, http.StatusBadRequest, "invalid_request", "The Idempotency-Key must be 1 to 255 printable ASCII characters."},
		{commands.ErrReused, http.StatusUnprocessableEntity, "idempotency_key_reused", "The Idempotency-Key was used for another request."},
		{commands.ErrTooMany, http.StatusTooManyRequests, "rate_limited", "This was tried too often; try again after the time in Retry-After."},
		{errRateLimited, http.StatusTooManyRequests, "rate_limited", "Too many requests; try again after the time in Retry-After."},
		{errCrossSite, http.StatusForbidden, "forbidden", "A session's cookie does not count in another site's request."},
		{errNotAcceptable, http.StatusNotAcceptable, "not_acceptable", "The answer is application/json, which Accept leaves out."},
		{errTooSlow, http.StatusRequestTimeout, "request_timeout", "The request body came too slowly."},
		{errIssuerAway, http.StatusServiceUnavailable, "unavailable", "The token's issuer cannot be reached to check it; try again."},
		{nil, http.StatusInternalServerError, "internal_error", "Something went wrong on our side."},
	},
	render: renderGeneric,
}

type genericError struct {
	Error   string `json:"error"`
	Message string `json:"message"`
}

// renderGeneric lists the wrong fields in the message, because the contract has no
// other place for them.
func renderGeneric(x *exchange, row errorRow, err error) any {
	e := genericError{Error: row.code, Message: row.text}
	if row.status != http.StatusBadRequest {
		return e
	}
	for _, f := range x.contract.fields(err) {
		e.Message += " " + genericName(f.Field) + ": " + f.Detail
	}
	return e
}

// genericName writes a pointer with dots: settings.currency.
func genericName(pointer string) string {
	return strings.ReplaceAll(strings.TrimPrefix(pointer, "/"), "/", ".")
}
