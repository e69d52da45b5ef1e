package http

import (
	"errors"

	"konto/commands"
)

// What goes wrong in this room. The other errors that the tables answer are
// those of commands and projections.
var (
	errNoRoute       = errors.New("no such path")
	errMethod        = errors.New("path does not take this method")
	errNoCredential  = errors.New("no credential was given")
	errScheme        = errors.New("the Authorization header is of another scheme")
	errForbidden     = errors.New("this kind of credential is not let in")
	errDelegated     = errors.New("session by delegated access is not let in")
	errNotElevated   = errors.New("administrator lacks the elevated role")
	errScope         = errors.New("credential lacks the scope")
	errContentType   = errors.New("content type is not application/json")
	errContentCoding = errors.New("body has a content coding")
	errMalformed     = errors.New("body is not one JSON object")
	errTooLarge      = errors.New("body is too large")

	errRateLimited   = errors.New("too many requests")
	errCrossSite     = errors.New("another site's page asks with a cookie")
	errNotAcceptable = errors.New("caller does not take JSON")
	errTooSlow       = errors.New("body came too slowly")
	errIssuerAway    = errors.New("outside issuer's keys cannot be fetched")

	errIdempotencyKey = errors.New("idempotency key is malformed")

	// errRejected is matched by *rejection.
	errRejected = errors.New("body has wrong members")

	// errPanic stands for a panic; no table has a row for it.
	errPanic = errors.New("panic")
)

// rejection lists what is wrong with the members of a body, in their order in
// the request. Unlike those of commands.Invalid, its pointers are into the
// contract's body.
type rejection struct{ fields []commands.FieldError }

func (e *rejection) Error() string { return errRejected.Error() }

// Is matches errRejected.
func (e *rejection) Is(target error) bool { return target == errRejected }

// contract is how one public contract answers.
type contract struct {
	name   string // in the metadata of events
	cookie bool   // whether a dashboard session's cookie is taken
	basic  bool   // whether callers authenticate by HTTP Basic, not by a bearer token
	errors errorTable
	media  string            // media type of an error's answer
	names  map[string]string // from commands' pointers to the contract's own, where they differ
	render func(x *exchange, row errorRow, err error) any
}

// errorRow is the answer to one error.
type errorRow struct {
	err    error // nil in the last row, which answers all other errors
	status int
	code   string
	text   string // a sentence for the developer who called
}

type errorTable []errorRow

func (t errorTable) find(err error) errorRow {
	last := len(t) - 1
	for _, row := range t[:last] {
		if errors.Is(err, row.err) {
			return row
		}
	}
	return t[last]
}

// fields gives what an error says of single fields, with pointers into the
// contract's body.
func (c *contract) fields(err error) []commands.FieldError {
	var rejected *rejection
	var invalid *commands.Invalid
	var taken *commands.Taken
	switch {
	case errors.As(err, &rejected):
		return rejected.fields
	case errors.As(err, &invalid):
		return c.translate(invalid.Fields)
	case errors.As(err, &taken):
		return c.translate([]commands.FieldError{{
			Field: taken.Field, Code: commands.CodeTaken, Detail: "This value is already in use by another account.",
		}})
	}
	return nil
}

// untranslate is translate the other way round.
func (c *contract) untranslate(fields []commands.FieldError) []commands.FieldError {
	if len(fields) == 0 {
		return nil
	}
	theirs := map[string]string{}
	for field, own := range c.names {
		theirs[own] = field
	}
	back := contract{names: theirs}
	return back.translate(fields)
}

// translate puts the contract's own pointers in place of those of commands.
func (c *contract) translate(fields []commands.FieldError) []commands.FieldError {
	translated := make([]commands.FieldError, len(fields))
	for i, f := range fields {
		if own, ok := c.names[f.Field]; ok {
			f.Field = own
		}
		translated[i] = f
	}
	return translated
}
