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

// actionAccess applies to all actions, and to the generic contract's updates. They can
// change how a user signs in to the account, so an administrator needs the elevated role.
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

// confirmEmailChange is POST .../confirm-email-change, and the generic contract's
// POST /v1/account/confirm-email.
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
	return x.answerAt(out.Account.Version, showMe(x, out.Account))
}

// showMe shows the account after an update. It needs no parent's address, because
// delegated sessions cannot update.
func showMe(x *exchange, a *events.Account) any {
	return accountMe{account: a, caller: &x.caller, elevated: x.ElevatedRole, now: x.at}
}

var hostup = contract{
	name:   "hostup",
	cookie: true,
	media:  mediaProblem,
	errors: errorTable{
		{errNoCredential, http.StatusUnauthorized, "unauthorized", "Authentication is required."},
		{projections.ErrUnauthenticated, http.StatusUnauthorized, "unauthorized", "The token is unknown, expired or revoked."},
		{errScheme, http.StatusUnauthorized, "unauthorized", "The Authorization header must be Bearer, a space and the token, once. A token alone and other schemes, such as Basic, do not count."},
		{errForbidden, http.StatusForbidden, "forbidden", "The current session is not allowed to use this account profile."},
		{errDelegated, http.StatusForbidden, "delegated_access", "Delegated access cannot change the account or how it is signed in to."},
		{errNotElevated, http.StatusForbidden, "forbidden", "An administrator needs the elevated role to change how the account is signed in to."},
		{commands.ErrEmailNeedsProof, http.StatusForbidden, "forbidden", "The email address cannot be changed without the current password."},
		{errScope, http.StatusForbidden, "insufficient_scope", "The token lacks the scope that this route requires."},
		{commands.ErrAdministratorEmail, http.StatusForbidden, "forbidden", "An administrator's email address cannot be changed here."},
		{commands.ErrPendingOrder, http.StatusConflict, "pending_order", "The email address cannot be changed while an order is pending."},
		{commands.ErrNoEmailChange, http.StatusConflict, "no_pending_email_change", "No change of the email address is pending, or its code has expired."},
		{errNoRoute, http.StatusNotFound, "not_found", "The resource does not exist or is not owned by the caller."},
		{commands.ErrNotFound, http.StatusNotFound, "not_found", "The resource does not exist or is not owned by the caller."},
		{projections.ErrNoAccount, http.StatusNotFound, "not_found", "The resource does not exist or is not owned by the caller."},
		{errMethod, http.StatusMethodNotAllowed, "method_not_allowed", "The resource does not take this method; Allow lists those it takes."},
		{errContentType, http.StatusUnsupportedMediaType, "unsupported_media_type", "The Content-Type must be application/json, or application/merge-patch+json for PATCH, in UTF-8."},
		{errContentEncoding, http.StatusUnsupportedMediaType, "unsupported_media_type", "The request body must come without a Content-Encoding."},
		{errMalformed, http.StatusBadRequest, "invalid_request", "The request body is not one valid JSON object in UTF-8."},
		{commands.ErrInvalid, http.StatusBadRequest, "invalid_request", "The request body failed validation."},
		{commands.ErrTaken, http.StatusConflict, "email_taken", "The email address is already in use by another account."},
		{errIdempotencyKey, http.StatusBadRequest, "invalid_request", "The Idempotency-Key must be 1 to 255 printable ASCII characters."},
		{errRateLimited, http.StatusTooManyRequests, "rate_limited", "Rate limited. Retry after the limit resets."},
		{errNotAcceptable, http.StatusNotAcceptable, "not_acceptable", "The resource is application/json, which Accept leaves out."},
		{nil, http.StatusInternalServerError, "internal_error", "Internal error. Retry later or contact support if the issue persists."},
	}.withCommon("."),
	render: renderProblem,
	show:   showMe,
}

// hostupTitles maps each code to its title, which is the same for every occurrence
// (RFC 9457, section 3.1.3).
var hostupTitles = map[string]string{
	"unauthorized":            "Authentication required",
	"forbidden":               "Forbidden",
	"insufficient_scope":      "Insufficient scope",
	"not_found":               "Not found",
	"method_not_allowed":      "Method not allowed",
	"unsupported_media_type":  "Unsupported media type",
	"payload_too_large":       "Payload too large",
	"invalid_request":         "Validation failed",
	"conflict":                "Conflict",
	"delegated_access":        "Delegated access",
	"email_taken":             "Email address taken",
	"pending_order":           "Order pending",
	"no_pending_email_change": "No pending email change",
	"precondition_failed":     "Precondition failed",
	"idempotency_key_reused":  "Idempotency key reused",
	"rate_limited":            "Rate limited",
	"not_acceptable":          "Not acceptable",
	"request_timeout":         "Request timeout",
	"unavailable":             "Unavailable",
	"internal_error":          "Internal error",
}

// problem is a problem detail of RFC 9457, with the members that HostUp adds.
type problem struct {
	Type      string         `json:"type"`
	Title     string         `json:"title"`
	Status    int            `json:"status"`
	Detail    string         `json:"detail"`
	Code      string         `json:"code"`
	Instance  string         `json:"instance"`
	RequestID string         `json:"requestId"`
	Timestamp milliseconds   `json:"timestamp"`
	Errors    []problemField `json:"errors,omitempty"`
}

type problemField struct {
	Pointer string `json:"pointer"`
	Detail  string `json:"detail"`
	Code    string `json:"code"`
}

func renderProblem(x *exchange, row errorRow, err error) any {
	p := problem{
		Type:  "https://developer.hostup.se/errors/" + row.code,
		Title: hostupTitles[row.code], Status: row.status, Detail: row.text, Code: row.code,
		Instance: x.r.URL.EscapedPath(), RequestID: x.id, Timestamp: milliseconds(x.at),
	}
	for _, f := range x.contract.fields(err) {
		p.Errors = append(p.Errors, problemField{Pointer: f.Field, Detail: f.Detail, Code: f.Code})
	}
	return p
}

// milliseconds is a time in UTC as HostUp writes it: 2026-04-27T12:34:56.000Z.
type milliseconds time.Time

func (t milliseconds) String() string { return time.Time(t).UTC().Format("2006-01-02T15:04:05.000Z") }

func (t milliseconds) MarshalText() ([]byte, error) { return []byte(t.String()), nil }
