package http

import (
	"net/http"
	"strings"

	"konto/commands"
	"konto/projections"
)

// generic also answers paths that are no contract's.
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
		{errContentCoding, http.StatusUnsupportedMediaType, "invalid_request", "The request body must come without a Content-Encoding."},
		{errMalformed, http.StatusBadRequest, "invalid_request", "The request body is not one valid JSON object in UTF-8."},
		{errRejected, http.StatusBadRequest, "invalid_request", "The request body contains invalid or missing fields."},
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

// renderGeneric names the first wrong fields in the message, since the
// contract has no other place for them.
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
