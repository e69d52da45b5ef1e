package http

import (
	"errors"

	"konto/commands"
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

	errIdempotencyKey = errors.New("idempotency key is malformed")

	// errRejected is matched by *rejection.
	errRejected = errors.New("body has wrong members")

	// errPanic stands for a panic. No table has a row for it.
	errPanic = errors.New("panic")
)

// rejection lists the wrong members of a body, in the order of the request. Its
// pointers are into the contract's body, unlike those of commands.Invalid.
type rejection struct{ fields []commands.FieldError }

// Error implements error.
func (e *rejection) Error() string { return errRejected.Error() }

// Is matches errRejected.
func (e *rejection) Is(target error) bool { return target == errRejected }

// contract says how one public contract answers.
type contract struct {
	name   string // recorded in the metadata of events
	cookie bool   // whether a session's cookie is accepted
	basic  bool   // whether callers authenticate with HTTP Basic in place of a bearer token
	errors errorTable
	media  string            // media type of an error
	names  map[string]string // from commands' pointers to the contract's own, if they differ
	render func(x *exchange, row errorRow, err error) any
}

// errorRow is the answer to one error.
type errorRow struct {
	err    error // nil in the last row, which answers every other error
	status int
	code   string
	text   string // a sentence for the developer of the caller
}

type errorTable []errorRow

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
	var rejected *rejection
	var invalid *commands.Invalid
	var taken *commands.Taken
	switch {
	case errors.As(err, &rejected):
		return rejected.fields
	case errors.As(err, &invalid):
		return c.toContractFields(invalid.Fields)
	case errors.As(err, &taken):
		return c.toContractFields([]commands.FieldError{{
			Field: taken.Field, Code: commands.CodeTaken, Detail: "This value is already in use by another account.",
		}})
	}
	return nil
}

// toCommandFields replaces the contract's own pointers by those of commands.
func (c *contract) toCommandFields(fields []commands.FieldError) []commands.FieldError {
	if len(fields) == 0 {
		return nil
	}
	theirs := map[string]string{}
	for field, own := range c.names {
		theirs[own] = field
	}
	back := contract{names: theirs}
	return back.toContractFields(fields)
}

// toContractFields replaces commands' pointers by the contract's own.
func (c *contract) toContractFields(fields []commands.FieldError) []commands.FieldError {
	translated := make([]commands.FieldError, len(fields))
	for i, f := range fields {
		if own, ok := c.names[f.Field]; ok {
			f.Field = own
		}
		translated[i] = f
	}
	return translated
}
