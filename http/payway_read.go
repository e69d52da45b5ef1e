package http

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/oklog/ulid/v2"

	"konto/commands"
	"konto/events"
)

// selector is a parameter of GET accounts that names one account.
type selector struct {
	name  string
	check format
	// find returns the account. The time decides what some numbers mean.
	find func(ctx context.Context, a *commands.Accounts, value string, now time.Time) (ulid.ULID, error)
}

var selectors = []selector{
	{"id", paywayID, findByClaim(events.PaywayIDClaim)},
	{"email", anyEmail, func(ctx context.Context, a *commands.Accounts, value string, _ time.Time) (ulid.ULID, error) {
		return a.FindEmail(ctx, value)
	}},
	{"social_security_number", paywaySocialSecurityNumber, func(ctx context.Context, a *commands.Accounts, value string, now time.Time) (ulid.ULID, error) {
		return a.Find(ctx, commands.SocialSecurityNumberClaim(value, now))
	}},
	{"customer_number", visibleText, findByClaim(events.CustomerNumberClaim)},
}

// findByClaim finds the account by a claim, which only one account can hold.
func findByClaim(claim func(value string) events.Claim) func(context.Context, *commands.Accounts, string, time.Time) (ulid.ULID, error) {
	return func(ctx context.Context, a *commands.Accounts, value string, _ time.Time) (ulid.ULID, error) {
		return a.Find(ctx, claim(value))
	}
}

// getPaywayAccount is GET /external/api/v1/accounts.
func (x *exchange) getPaywayAccount() error {
	by, value, err := parseSelector(x.r.URL.RawQuery)
	if err != nil {
		return err
	}
	id, err := by.find(x.r.Context(), x.Accounts, value, x.at)
	if err != nil {
		return err
	}
	a, err := x.Reader.Account(x.r.Context(), id)
	if err != nil {
		return err
	}
	return x.answerRead(a.Version, func() any { return accountPayway{&a} })
}

// parseSelector returns which account a query asks for. Its error is a *commands.Invalid,
// which lists what is wrong in the order of the query.
func parseSelector(query string) (by *selector, asked string, err error) {
	var wrong []commands.FieldError
	reject := func(field, code, detail string) {
		wrong = append(wrong, commands.FieldError{Field: field, Code: code, Detail: detail})
	}
	const oneOfThem = "Exactly one of id, email, social_security_number and customer_number must be given"
	given := 0
	for part := range strings.SplitSeq(query, "&") {
		if part == "" {
			continue
		}
		name, value, ok := parameter(part)
		field := "/" + pointerEscape.Replace(name)
		i := slices.IndexFunc(selectors, func(s selector) bool { return s.name == name })
		if i >= 0 {
			given++
		}
		switch {
		case !ok:
			reject("", commands.CodeInvalidFormat, "The query could not be read")
		case i < 0:
			reject(field, commands.CodeUnknownField, "This parameter is not known.")
		case given > 1:
			reject(field, commands.CodeInvalidValue, oneOfThem)
		case value == "":
			reject(field, commands.CodeMustBeSet, "This parameter must be set.")
		default:
			by, asked = &selectors[i], value
			if code, detail := by.check(value); code != "" {
				reject(field, code, detail)
			}
		}
	}
	if given == 0 && len(wrong) == 0 {
		reject("", commands.CodeInvalidValue, oneOfThem)
	}
	if len(wrong) > 0 {
		return nil, "", &commands.Invalid{Fields: wrong}
	}
	return by, asked, nil
}

// parameter parses one parameter of a query. net/url's own parser loses the order of
// the parameters, and the order decides which error is answered.
func parameter(part string) (name, value string, ok bool) {
	name, value, _ = strings.Cut(part, "=")
	name, nameErr := url.QueryUnescape(name)
	value, valueErr := url.QueryUnescape(value)
	if nameErr != nil || valueErr != nil || !utf8.ValidString(name) || !utf8.ValidString(value) {
		return "", "", false
	}
	return name, value, true
}

// anyEmail accepts every address that an account can have through any contract,
// and not only those of Payway's format.
func anyEmail(text string) (code, detail string) {
	local, domain, _ := strings.Cut(text, "@")
	if local == "" || domain == "" || strings.ContainsRune(text, ' ') {
		return paywayEmail("")
	}
	return shortText(text)
}

// accountPayway is the account in the answers to GET and POST of the present
// contract: first what identifies it, then what can be updated, under the names of
// the update. All members are always present, and null if they are not set.
type accountPayway struct{ *events.Account }

func (a accountPayway) write(w *jsonWriter) {
	p := &a.Profile
	w.text("id", a.PaywayID)
	w.text("email", a.Email)
	w.text("status", "active") // an erased account is not shown
	w.flag("verified", a.Facts.Verified)
	w.orNull("customer_number", p.CustomerNumber)
	w.orNull("first_name", p.FirstName)
	w.orNull("last_name", p.LastName)
	w.orNull("alias", p.Alias)
	w.orNull("mobile_phone_number", p.PhoneNumber)
	w.orNull("social_security_number", p.SocialSecurityNumber)
	w.orNull("birth_date", p.BirthDate)
	w.orNull("company_registration_number", p.CompanyRegistrationNumber)
	w.orNull("company_name", p.CompanyName)
	w.orNull("account_origin", p.AccountOrigin)
	w.begin("address")
	w.orNull("first_name", p.Address.FirstName)
	w.orNull("last_name", p.Address.LastName)
	w.orNull("street", p.Address.Street)
	w.orNull("building", p.Address.Building)
	w.orNull("country_code", p.Address.CountryCode)
	w.orNull("zip_code", p.Address.PostalCode)
	w.orNull("city", p.Address.City)
	w.orNull("street_number", p.Address.StreetNumber)
	w.orNull("staircase", p.Address.Staircase)
	w.orNull("floor", p.Address.Floor)
	w.orNull("apartment_number", p.Address.ApartmentNumber)
	w.orNull("mobile_number", p.Address.MobileNumber)
	w.orNull("phone_number", p.Address.PhoneNumber)
	w.orNull("citizenship_country_code", p.Address.CitizenshipCountryCode)
	w.orNull("dropbox", p.Address.Dropbox)
	w.orNull("company_name", p.Address.CompanyName)
	w.orNull("company_reference", p.Address.CompanyReference)
	w.orNull("company_department", p.Address.CompanyDepartment)
	w.orNull("company_crn", p.Address.CompanyCRN)
	w.orNull("company_vat_number", p.Address.CompanyVATNumber)
	w.orNull("care_of", p.Address.CareOf)
	w.end()
}
