package http

import (
	"errors"
	"net/http"
	"slices"

	"konto/commands"
	"konto/events"
)

// The errors of this package. The tables also answer the errors of commands and
// projections.
var (
	errNoRoute         = errors.New("no such path")
	errMethod          = errors.New("path does not take this method")
	errNoCredential    = errors.New("no credential was given")
	errScheme          = errors.New("the Authorization header is of another scheme")
	errForbidden       = errors.New("this kind of credential is not let in")
	errDelegated       = errors.New("session by delegated access is not let in")
	errNotElevated     = errors.New("administrator lacks the elevated role")
	errScope           = errors.New("credential lacks the scope")
	errContentType     = errors.New("content type is not application/json")
	errContentEncoding = errors.New("body has a content coding")
	errMalformed       = errors.New("body is not one JSON object")
	errTooLarge        = errors.New("body is too large")

	errRateLimited   = errors.New("too many requests")
	errCrossSite     = errors.New("another site's page asks with a cookie")
	errNotAcceptable = errors.New("caller does not take JSON")
	errTooSlow       = errors.New("body came too slowly")
	errIssuerAway    = errors.New("outside issuer's keys cannot be fetched")
	errBehind        = errors.New("this node does not have what others have acknowledged")

	errIdempotencyKey = errors.New("idempotency key is malformed")

	// errPanic stands for a panic. No table has a row for it.
	errPanic = errors.New("panic")
)

// contract says how one public contract answers.
type contract struct {
	name   string // recorded in the metadata of events
	cookie bool   // whether a session's cookie is accepted
	basic  bool   // whether callers authenticate with HTTP Basic in place of a bearer token
	errors errorTable
	media  string            // media type of an error
	names  map[string]string // from commands' pointers to the contract's own, if they differ
	render func(x *exchange, row errorRow, err error) any
	show   func(x *exchange, a *events.Account) any // the account in the answer to an update of the caller's
}

// errorRow is the answer to one error.
type errorRow struct {
	err    error // nil in the last row, which answers every other error
	status int
	code   string
	text   string // a sentence for the developer of the caller
}

type errorTable []errorRow

// withCommon adds the rows that are the same in all contracts of JSON, in front of the
// last row. Their texts end with the contract's full stop, or "".
func (t errorTable) withCommon(stop string) errorTable {
	common := errorTable{
		{errTooLarge, http.StatusRequestEntityTooLarge, "payload_too_large", "The request body is larger than 64 KiB"},
		{commands.ErrBusy, http.StatusConflict, "conflict", "The account is being changed by others; try again"},
		{commands.ErrVersion, http.StatusPreconditionFailed, "precondition_failed", "The account's version does not meet If-Match or If-None-Match"},
		{commands.ErrReused, http.StatusUnprocessableEntity, "idempotency_key_reused", "The Idempotency-Key was used for another request"},
		{commands.ErrTooMany, http.StatusTooManyRequests, "rate_limited", "This was tried too often; try again after the time in Retry-After"},
		{errCrossSite, http.StatusForbidden, "forbidden", "A session's cookie does not count in another site's request"},
		{errTooSlow, http.StatusRequestTimeout, "request_timeout", "The request body came too slowly"},
		{errIssuerAway, http.StatusServiceUnavailable, "unavailable", "The token's issuer cannot be reached to check it; try again"},
		{commands.ErrUnavailable, http.StatusServiceUnavailable, "unavailable", "Nothing was changed, because tries cannot be counted; try again"},
		{errBehind, http.StatusServiceUnavailable, "unavailable", "Nothing was changed, because the log cannot be reached; try again"},
	}
	for i := range common {
		common[i].text += stop
	}
	return slices.Insert(t, len(t)-1, common...)
}

// find returns the row of an error, or the last row.
func (t errorTable) find(err error) errorRow {
	last := len(t) - 1
	for _, row := range t[:last] {
		if errors.Is(err, row.err) {
			return row
		}
	}
	return t[last]
}

// fields returns what an error says about single fields, with pointers into the
// contract's body.
func (c *contract) fields(err error) []commands.FieldError {
	var invalid *commands.Invalid
	var taken *commands.Taken
	switch {
	case errors.As(err, &invalid):
		return c.toContractFields(invalid.Fields)
	case errors.As(err, &taken):
		return c.toContractFields([]commands.FieldError{{
			Field: taken.Field, Code: commands.CodeTaken, Detail: "This value is already in use by another account.",
		}})
	}
	return nil
}

// toContractFields replaces commands' pointers by the contract's own. The pointer to
// an unknown member is as the caller wrote it.
func (c *contract) toContractFields(fields []commands.FieldError) []commands.FieldError {
	translated := make([]commands.FieldError, len(fields))
	for i, f := range fields {
		if own, ok := c.names[f.Field]; ok && f.Code != commands.CodeUnknownField {
			f.Field = own
		}
		translated[i] = f
	}
	return translated
}
