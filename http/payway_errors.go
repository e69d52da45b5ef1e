package http

import (
	"bytes"
	"net/http"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"konto/commands"
	"konto/projections"
)

// payway and paywayEarlier are the two versions of Payway's contract. They differ in
// the members of their bodies.
var (
	payway = contract{
		name: "payway.v1", media: mediaJSON,
		errors: paywayErrors, names: namesOf(paywayV1), render: renderPayway,
	}
	paywayEarlier = contract{
		name: "payway.v0", media: mediaJSON,
		errors: paywayErrors, names: namesOf(paywayV0), render: renderPayway,
	}
)

// paywayErrors uses the contract's own texts if it has one, even where it says
// "package" for "account".
var paywayErrors = errorTable{
	{errNoCredential, http.StatusUnauthorized, "unauthorized", "A bearer token is required"},
	{projections.ErrUnauthenticated, http.StatusUnauthorized, "unauthorized", "The token is unknown, expired or revoked"},
	{errScheme, http.StatusUnauthorized, "unauthorized", "The Authorization header must be Bearer, a space and the token, once. A token alone does not count, and a client's id and secret by Basic count at POST /oauth/token alone"},
	{errForbidden, http.StatusForbidden, "forbidden", "A client's token is required"},
	{errDelegated, http.StatusForbidden, "forbidden", "A client's token is required"},
	{errNotElevated, http.StatusForbidden, "forbidden", "A client's token is required"},
	{commands.ErrEmailNeedsProof, http.StatusForbidden, "forbidden", "The email address cannot be changed without the current password"},
	{errScope, http.StatusForbidden, "insufficient_scope", "The token lacks the scope that this endpoint requires"},
	{errContentType, http.StatusBadRequest, "invalid_content_type_error", "The requests Content-Type header isn't set to application/json"},
	{errContentEncoding, http.StatusUnsupportedMediaType, "unsupported_media_type", "The request body must come without a Content-Encoding"},
	{errMalformed, http.StatusBadRequest, "json_parser_error", "The request body could not be parsed as valid json"},
	{commands.ErrInvalid, http.StatusBadRequest, "invalid_parameter", ""}, // the first wrong field gives the text
	{commands.ErrTaken, http.StatusBadRequest, "invalid_parameter", ""},
	{commands.ErrNotFound, http.StatusNotFound, "not_found", "The package could not be found"},
	{projections.ErrNoAccount, http.StatusNotFound, "not_found", "The package could not be found"},
	{errNoRoute, http.StatusNotFound, "not_found", "There is no such endpoint"},
	{commands.ErrAdministratorEmail, http.StatusForbidden, "forbidden", "Not allowed to update email for an administrator."},
	{errMethod, http.StatusMethodNotAllowed, "method_not_allowed", "The endpoint does not take this method"},
	{commands.ErrPendingOrder, http.StatusConflict, "conflict", "The email address cannot be changed while an order is pending"},
	{commands.ErrNoEmailChange, http.StatusConflict, "conflict", "No change of the email address is pending"},
	{errIdempotencyKey, http.StatusBadRequest, "invalid_parameter", "The Idempotency-Key must be 1 to 255 printable ASCII characters"},
	{errRateLimited, http.StatusTooManyRequests, "rate_limited", "Too many requests; try again after the time in Retry-After"},
	{errNotAcceptable, http.StatusNotAcceptable, "not_acceptable", "The answer is application/json, which Accept leaves out"},
	{nil, http.StatusInternalServerError, "internal_server_error", "Something unexpected happened server side"},
}.withCommon("")

// paywayError is the answer to an error. Its field is null if the error is about none.
type paywayError struct{ code, field, message string }

func (e paywayError) write(w *jsonWriter) {
	w.text("code", e.code)
	w.orNull("field", e.field)
	w.text("message", e.message)
}

// paywayFault says how Payway answers a FieldError. Lower ranks come first, whatever
// their order in the request. If message is "", the FieldError gives the text.
type paywayFault struct {
	rank          int
	code, message string
}

var (
	paywayFaults = map[string]paywayFault{
		commands.CodeDuplicateField:  {0, "json_parser_error", "The request body could not be parsed as valid json"},
		commands.CodeUnknownField:    {1, "unknown_parameter", "One or more of the fields in the posted json was not recognized"},
		commands.CodeFieldNotAllowed: {1, "unknown_parameter", "One or more of the fields in the posted json was not recognized"},
		commands.CodeMustBeSet:       {2, "invalid_parameter", "must_be_set"},
		commands.CodeTaken:           {2, "invalid_parameter", "Parameter must be unique"},
	}
	paywayOtherFault = paywayFault{2, "invalid_parameter", ""}
)

// paywayFaultOf returns how a FieldError is answered.
func paywayFaultOf(f commands.FieldError) paywayFault {
	if fault, ok := paywayFaults[f.Code]; ok {
		return fault
	}
	return paywayOtherFault
}

// refusesWholeRequest reports whether something is wrong that a partial update
// cannot leave out: the shape of the request, or which account it is about.
func refusesWholeRequest(wrong []commands.FieldError) bool {
	for _, f := range wrong {
		if paywayFaultOf(f).rank < paywayOtherFault.rank || f.Field == "/id" || f.Field == "/atomic" {
			return true
		}
	}
	return false
}

func renderPayway(x *exchange, row errorRow, err error) any {
	e := paywayError{code: row.code, message: row.text}
	if row.err == commands.ErrAdministratorEmail {
		e.field = "email"
	}
	rank := paywayOtherFault.rank + 1
	for _, f := range inOrder(x.contract.fields(err), x.body) {
		fault := paywayFaultOf(f)
		if fault.rank >= rank {
			continue
		}
		rank = fault.rank
		e = paywayError{fault.code, paywayName(f.Field), fault.message}
		if e.message == "" {
			e.message = f.Detail
		}
	}
	return e
}

// inOrder sorts what is wrong by where it is in the request. The contract's own
// findings and those of commands come one after the other, and of them all only
// the request's first is told. A member that is missing counts as the last one of
// its object.
func inOrder(wrong []commands.FieldError, body []byte) []commands.FieldError {
	if len(wrong) < 2 {
		return wrong
	}
	places := map[string]int{} // by pointer; an object's is where it ends
	dec := jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true))
	for place := 1; ; place++ {
		if _, err := dec.ReadToken(); err != nil {
			break
		}
		places[string(dec.StackPointer())] = place
	}
	placeOf := func(f commands.FieldError) int {
		if place, ok := places[f.Field]; ok {
			return place
		}
		return places[f.Field[:max(strings.LastIndexByte(f.Field, '/'), 0)]]
	}
	return slices.SortedStableFunc(slices.Values(wrong), func(a, b commands.FieldError) int { return placeOf(a) - placeOf(b) })
}
