package http

import (
	"net/http"
	"time"

	"konto/commands"
	"konto/projections"
)

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
