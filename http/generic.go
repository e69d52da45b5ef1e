package http

import (
	"fmt"
	"net/http"
	"strings"

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

// genericAccount is the account as the contract shows it.
type genericAccount struct{ *events.Account }

// write writes the members in the order of the contract's example.
func (a genericAccount) write(w *jsonWriter) {
	const seconds = "2006-01-02T15:04:05Z"
	p, kind := &a.Profile, "individual"
	if p.AccountType == events.TypeOrganisation {
		kind = "business"
	}
	w.text("id", publicID("acct_", a.ID))
	w.text("email", a.Email)
	w.orNull("name", commands.Name(p))
	w.text("type", kind)
	w.text("status", "active") // an erased account is not shown
	w.text("created_at", a.Opened.UTC().Format(seconds))
	w.text("updated_at", a.Updated.UTC().Format(seconds))
	w.begin("settings")
	w.orNull("currency", p.CurrencyCode)
	w.orNull("timezone", p.TimeZone)
	w.orNull("language", p.LanguageCode)
	w.end()
}

// getAccount is GET /v1/account.
func (x *exchange) getAccount() error {
	a, err := x.Reader.Account(x.r.Context(), x.caller.Account)
	if err != nil {
		return err
	}
	return x.answerRead(a.Version, func() any { return genericAccount{&a} })
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
	return x.act(&b.update)
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
		{commands.ErrPendingOrder, http.StatusConflict, "pending_order", "The email address cannot be changed while an order is pending."},
		{commands.ErrNoEmailChange, http.StatusConflict, "no_pending_email_change", "No change of the email address is pending, or its code has expired."},
		{errNoRoute, http.StatusNotFound, "not_found", "There is no such endpoint."},
		{commands.ErrNotFound, http.StatusNotFound, "not_found", "The account does not exist."},
		{projections.ErrNoAccount, http.StatusNotFound, "not_found", "The account does not exist."},
		{errMethod, http.StatusMethodNotAllowed, "method_not_allowed", "The endpoint does not take this method."},
		{errIdempotencyKey, http.StatusBadRequest, "invalid_request", "The Idempotency-Key must be 1 to 255 printable ASCII characters."},
		{errRateLimited, http.StatusTooManyRequests, "rate_limited", "Too many requests; try again after the time in Retry-After."},
		{errNotAcceptable, http.StatusNotAcceptable, "not_acceptable", "The answer is application/json, which Accept leaves out."},
		{nil, http.StatusInternalServerError, "internal_error", "Something went wrong on our side."},
	}.withCommon("."),
	render: renderGeneric,
	show:   func(_ *exchange, a *events.Account) any { return genericAccount{a} },
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
