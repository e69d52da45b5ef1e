package http

import (
	"context"
	"net/url"
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
	return x.answerRead(a.Version, func() any { return newPaywayAccount(&a) })
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
		s := selectorOf(name)
		if s != nil {
			given++
		}
		switch {
		case !ok:
			reject("", commands.CodeInvalidFormat, "The query could not be read")
		case s == nil:
			reject(field, commands.CodeUnknownField, "This parameter is not known.")
		case given > 1:
			reject(field, commands.CodeInvalidValue, oneOfThem)
		case value == "":
			reject(field, commands.CodeMustBeSet, "This parameter must be set.")
		default:
			if code, detail := s.check(value); code != "" {
				reject(field, code, detail)
			}
			by, asked = s, value
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

// selectorOf returns the selector of a name, or nil.
func selectorOf(name string) *selector {
	for i := range selectors {
		if selectors[i].name == name {
			return &selectors[i]
		}
	}
	return nil
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
type accountPayway struct {
	ID                        string        `json:"id"`
	Email                     string        `json:"email"`
	Status                    string        `json:"status"`   // active: an erased account is not shown
	Verified                  bool          `json:"verified"` // the person, as in HostUp's contract
	CustomerNumber            orNull        `json:"customer_number"`
	FirstName                 orNull        `json:"first_name"`
	LastName                  orNull        `json:"last_name"`
	Alias                     orNull        `json:"alias"`
	MobilePhoneNumber         orNull        `json:"mobile_phone_number"`
	SocialSecurityNumber      orNull        `json:"social_security_number"`
	BirthDate                 orNull        `json:"birth_date"`
	CompanyRegistrationNumber orNull        `json:"company_registration_number"`
	CompanyName               orNull        `json:"company_name"`
	AccountOrigin             orNull        `json:"account_origin"`
	Address                   addressPayway `json:"address"`
}

type addressPayway struct {
	FirstName              orNull `json:"first_name"`
	LastName               orNull `json:"last_name"`
	Street                 orNull `json:"street"`
	Building               orNull `json:"building"`
	CountryCode            orNull `json:"country_code"`
	ZipCode                orNull `json:"zip_code"`
	City                   orNull `json:"city"`
	StreetNumber           orNull `json:"street_number"`
	Staircase              orNull `json:"staircase"`
	Floor                  orNull `json:"floor"`
	ApartmentNumber        orNull `json:"apartment_number"`
	MobileNumber           orNull `json:"mobile_number"`
	PhoneNumber            orNull `json:"phone_number"`
	CitizenshipCountryCode orNull `json:"citizenship_country_code"`
	Dropbox                orNull `json:"dropbox"`
	CompanyName            orNull `json:"company_name"`
	CompanyReference       orNull `json:"company_reference"`
	CompanyDepartment      orNull `json:"company_department"`
	CompanyCRN             orNull `json:"company_crn"`
	CompanyVATNumber       orNull `json:"company_vat_number"`
	CareOf                 orNull `json:"care_of"`
}

func newPaywayAccount(a *events.Account) *accountPayway {
	p := &a.Profile
	return &accountPayway{
		ID: a.PaywayID, Email: a.Email, Status: "active", Verified: a.Facts.Verified,
		CustomerNumber: orNull(p.CustomerNumber), FirstName: orNull(p.FirstName), LastName: orNull(p.LastName),
		Alias: orNull(p.Alias), MobilePhoneNumber: orNull(p.PhoneNumber),
		SocialSecurityNumber: orNull(p.SocialSecurityNumber), BirthDate: orNull(p.BirthDate),
		CompanyRegistrationNumber: orNull(p.CompanyRegistrationNumber), CompanyName: orNull(p.CompanyName),
		AccountOrigin: orNull(p.AccountOrigin), Address: newPaywayAddress(&p.Address),
	}
}

func newPaywayAddress(a *events.Address) addressPayway {
	return addressPayway{
		FirstName: orNull(a.FirstName), LastName: orNull(a.LastName),
		Street: orNull(a.Street), Building: orNull(a.Building), CountryCode: orNull(a.CountryCode),
		ZipCode: orNull(a.PostalCode), City: orNull(a.City), StreetNumber: orNull(a.StreetNumber),
		Staircase: orNull(a.Staircase), Floor: orNull(a.Floor), ApartmentNumber: orNull(a.ApartmentNumber),
		MobileNumber: orNull(a.MobileNumber), PhoneNumber: orNull(a.PhoneNumber),
		CitizenshipCountryCode: orNull(a.CitizenshipCountryCode), Dropbox: orNull(a.Dropbox),
		CompanyName: orNull(a.CompanyName), CompanyReference: orNull(a.CompanyReference),
		CompanyDepartment: orNull(a.CompanyDepartment), CompanyCRN: orNull(a.CompanyCRN),
		CompanyVATNumber: orNull(a.CompanyVATNumber), CareOf: orNull(a.CareOf),
	}
}
