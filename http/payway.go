package http

import (
	"bytes"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

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

// paywayV1 and paywayV0 list the members of PUT accounts, in the present and in the
// earlier contract.
var (
	paywayV1 = placed("", slices.Concat(paywayCommon, []member{
		{name: "alias", field: "/alias", check: shortText, blank: true, unset: "__UNSET__"},
		optionalText("company_name", "/companyName"),
		{name: "address", members: slices.Concat(paywayAddress, []member{
			requiredText("building", "/address/building"),
			optionalText("mobile_number", "/address/mobileNumber"),
			optionalText("phone_number", "/address/phoneNumber"),
			optionalText("citizenship_country_code", "/address/citizenshipCountryCode"),
			optionalText("company_name", "/address/companyName"),
			optionalText("company_reference", "/address/companyReference"),
			optionalText("company_department", "/address/companyDepartment"),
			optionalText("company_crn", "/address/companyCrn"),
			optionalText("company_vat_number", "/address/companyVatNumber"),
			optionalText("care_of", "/address/careOf"),
		})},
	}))
	paywayV0 = placed("", slices.Concat(paywayCommon, []member{{name: "address", members: paywayAddress}}))
)

// paywayCommon lists the members of both versions, except the address.
var paywayCommon = []member{
	{name: "id", required: true, check: paywayID},
	{name: "atomic", flag: func(b *body, atomic bool) { b.update.Partial = !atomic }},
	{name: "email", field: "/email", check: paywayEmail},
	optionalText("first_name", "/firstName"),
	optionalText("last_name", "/lastName"),
	{name: "mobile_phone_number", field: "/phoneNumber", check: paywayMobile},
	{name: "social_security_number", field: "/socialSecurityNumber", check: paywaySocialSecurityNumber},
	{name: "birth_date", field: "/birthDate", check: calendarDate},
	{name: "company_registration_number", field: "/companyRegistrationNumber", check: paywayCompanyNumber},
	optionalText("account_origin", "/accountOrigin"),
}

// paywayAddress lists the members of an address in both versions. A request with an
// address must have all required members. Members that it omits do not change.
var paywayAddress = []member{
	requiredText("first_name", "/address/firstName"),
	requiredText("last_name", "/address/lastName"),
	requiredText("street", "/address/street"),
	requiredText("zip_code", "/address/postalCode"),
	requiredText("city", "/address/city"),
	{name: "country_code", field: "/address/countryCode", required: true, check: oneOf("SE", "FI", "AX")},
	optionalText("street_number", "/address/streetNumber"),
	optionalText("staircase", "/address/staircase"),
	optionalText("floor", "/address/floor"),
	optionalText("apartment_number", "/address/apartmentNumber"),
	optionalText("dropbox", "/address/dropbox"),
}

// optionalText is an optional text without a format. "" clears it.
func optionalText(name, field string) member {
	return member{name: name, field: field, check: shortText, blank: true}
}

// requiredText is a required text without a format.
func requiredText(name, field string) member {
	return member{name: name, field: field, check: visibleText, required: true}
}

// Payway's formats come from its contract's table, with two differences that do not
// change their intent. \A and \z replace ^ and $, so that a value cannot end with a
// line feed. Letters of both cases are written out, because (?i) also accepts the
// Kelvin sign as a k and the long s as an s.
var (
	paywayID = pattern(`(?i-mx:^[a-f\\d]{24}$)`, `[a-fA-F0-9]{24}`)
	// The contract's example has each backslash twice, also inside of a JSON string,
	// so the value itself has two.
	paywayEmail = pattern(`(?i-mx:\\A[\\w+\\-.]+@[a-z\\d\\-]+(\\.[a-z]+)*\\.[a-z]+\\z)`,
		`[A-Za-z0-9_+\-.]+@[A-Za-z0-9\-]+(\.[A-Za-z]+)*\.[A-Za-z]+`)
	paywayMobile = pattern(`(?-mix:^[+,0]?[0-9]{10,12}$)`, `[+,0]?[0-9]{10,12}`)
	// The twelve digits and the Finnish form come from a later contract. They mean
	// nothing else here, so both versions accept them.
	paywaySocialSecurityNumber = pattern(`dddddd-dddd`, `[0-9]{6}-[0-9]{4}|[0-9]{12}`)
	paywayCompanyNumber        = pattern(`dddddd-dddd`, `[0-9]{6}-[0-9]{4}|[0-9]{7}-[0-9]`)
)

// maxText is the longest text, in characters.
const maxText = 1024

// pattern accepts texts of at most maxText characters that match the whole
// expression. The error contains shown.
func pattern(shown, expression string) format {
	whole := regexp.MustCompile(`\A(?:` + expression + `)\z`)
	return func(text string) (code, detail string) {
		if code, detail = shortText(text); code == "" && !whole.MatchString(text) {
			return commands.CodeInvalidFormat, "Parameter must match format " + shown
		}
		return code, detail
	}
}

// shortText accepts texts of at most maxText characters. It refuses control
// characters, although commands does too, so that answers list what is wrong in the
// order of the request. White space around a text does not count, because commands
// removes it.
func shortText(text string) (code, detail string) {
	text = strings.TrimSpace(text)
	if len(text) > maxText && utf8.RuneCountInString(text) > maxText {
		return commands.CodeTooLong, "Parameter must be at most 1024 characters"
	}
	if strings.ContainsFunc(text, unicode.IsControl) {
		return commands.CodeInvalidFormat, "Parameter must not contain control characters"
	}
	return "", ""
}

// visibleText accepts what shortText accepts, if it has a visible character.
func visibleText(text string) (code, detail string) {
	if commands.IsBlank(text) {
		return commands.CodeMustBeSet, "This member must be set."
	}
	return shortText(text)
}

// calendarDate accepts days that exist.
func calendarDate(text string) (code, detail string) {
	if _, err := time.Parse(time.DateOnly, text); err != nil || len(text) != len(time.DateOnly) {
		return commands.CodeInvalidFormat, "Parameter must match format YYYY-MM-DD"
	}
	return "", ""
}
