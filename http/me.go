package http

import (
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/oklog/ulid/v2"

	"konto/events"
)

// accountMe is HostUp's AccountMe, in the order of the contract's example.
type accountMe struct {
	ID                     string                         `json:"id"`
	Name                   orNull                         `json:"name"`
	Email                  orNull                         `json:"email"`
	FirstName              orNull                         `json:"firstName"`
	LastName               orNull                         `json:"lastName"`
	CompanyName            orNull                         `json:"companyName"`
	RegistrationIdentifier *events.RegistrationIdentifier `json:"registrationIdentifier"`
	CountryCode            orNull                         `json:"countryCode"`
	PhoneNumber            orNull                         `json:"phoneNumber"`
	LanguageCode           orNull                         `json:"languageCode"`
	CurrencyCode           orNull                         `json:"currencyCode"`
	AccountType            string                         `json:"accountType"`
	VATNumber              orNull                         `json:"vatNumber"`
	InvoiceReference       orNull                         `json:"invoiceReference"`
	ProfileRequirements    requirements                   `json:"profileRequirements"`
	Address                addressMe                      `json:"address"`
	Verified               bool                           `json:"verified"`
	AdminID                orNull                         `json:"adminId"`
	IsAdmin                bool                           `json:"isAdmin"`
	IsContact              bool                           `json:"isContact"` // konto has no contacts
	CanPlaceOrders         bool                           `json:"canPlaceOrders"`
	Impersonating          bool                           `json:"impersonating"`
	AuthType               string                         `json:"authType"`
	ShouldMigrateMFA       bool                           `json:"shouldMigrateMFA"` // MFA is another service's
	BankIDUserName         orNull                         `json:"bankidUserName"`
	Scopes                 []string                       `json:"scopes"`
	CanViewInvoices        bool                           `json:"canViewInvoices"`
	CanViewTickets         bool                           `json:"canViewTickets"`
	CanAccessCDN           bool                           `json:"canAccessCdn"`
	CanRequestEPP          bool                           `json:"canRequestEpp"`
	AdminUsername          orNull                         `json:"adminUsername"`
	AdminRoles             []string                       `json:"adminRoles"`
	AdminLanguage          orNull                         `json:"adminLanguage"` // sessions do not say
	ParentClientID         orNull                         `json:"parentClientId"`
	ParentEmail            orNull                         `json:"parentEmail"`
	IsBillingSSO           bool                           `json:"isBillingSso"`
	IsDelegatedAccess      bool                           `json:"isDelegatedAccess"`
	HasDelegatedGrants     bool                           `json:"hasDelegatedGrants"` // grants are another service's,
	HasOwnedAccounts       bool                           `json:"hasOwnedAccounts"`   // and so are the accounts they reach
	DelegatedLabel         orNull                         `json:"delegatedLabel"`
	DelegatedGrantID       orNull                         `json:"delegatedGrantId"`
	UIBanners              banners                        `json:"uiBanners"`
	EmailChangeState       emailChange                    `json:"emailChangeState"`
	Actions                actions                        `json:"actions"`
}

type addressMe struct {
	Street     orNull `json:"street"`
	City       orNull `json:"city"`
	PostalCode orNull `json:"postalCode"`
	State      orNull `json:"state"`
}

// newAccountMe shows an account to a caller. parentEmail is the address of the
// account that delegated access to the caller, "" if none did.
func newAccountMe(a *events.Account, who *events.Credential, parentEmail string, now time.Time) *accountMe {
	p, delegated := &a.Profile, isDelegated(who)
	me := &accountMe{
		ID:    publicID("client_", a.ID),
		Name:  orNull(displayName(p)),
		Email: orNull(a.Email), FirstName: orNull(p.FirstName), LastName: orNull(p.LastName), CompanyName: orNull(p.CompanyName),
		CountryCode: orNull(p.CountryCode), PhoneNumber: orNull(p.PhoneNumber),
		LanguageCode: orNull(p.LanguageCode), CurrencyCode: orNull(p.CurrencyCode),
		AccountType: accountType(p), VATNumber: orNull(p.VATNumber), InvoiceReference: orNull(p.InvoiceReference),
		ProfileRequirements: newRequirements(a),
		Address: addressMe{
			Street: orNull(p.Address.Street), City: orNull(p.Address.City),
			PostalCode: orNull(p.Address.PostalCode), State: orNull(p.Address.State),
		},
		Verified: a.Facts.Verified, BankIDUserName: orNull(a.Facts.BankIDName),
		AdminID: orNull(who.Admin), AdminUsername: orNull(who.Admin), AdminRoles: who.Roles,
		IsAdmin: who.Admin != "", Impersonating: who.Admin != "",
		AuthType: who.AuthType, IsBillingSSO: who.AuthType == "billing-sso", Scopes: who.Scopes,
		CanViewInvoices: slices.Contains(who.Scopes, "read:billing"),
		CanViewTickets:  slices.Contains(who.Scopes, "read:support"),
		CanAccessCDN:    !delegated, CanRequestEPP: !delegated,
		IsDelegatedAccess: delegated, DelegatedLabel: orNull(who.Label), DelegatedGrantID: orNull(who.Grant),
		ParentEmail: orNull(parentEmail),
		UIBanners:   newBanners(a), EmailChangeState: newEmailChange(&a.EmailChange, now),
		Actions: newActions(a, who),
	}
	me.CanPlaceOrders = !delegated && len(me.ProfileRequirements.MissingFields) == 0
	if p.RegistrationIdentifier != (events.RegistrationIdentifier{}) {
		me.RegistrationIdentifier = &p.RegistrationIdentifier
	}
	if who.Parent != (ulid.ULID{}) {
		me.ParentClientID = orNull(publicID("client_", who.Parent))
	}
	return me
}

// displayName is the person's name, the company's where there is none.
func displayName(p *events.Profile) string {
	if name := personName(p); name != "" {
		return name
	}
	return p.CompanyName
}

func personName(p *events.Profile) string {
	if p.FirstName == "" || p.LastName == "" {
		return p.FirstName + p.LastName
	}
	return p.FirstName + " " + p.LastName
}

// accountType is private unless the account says otherwise.
func accountType(p *events.Profile) string {
	if p.AccountType == "" {
		return events.TypePrivate
	}
	return p.AccountType
}

// orNull is a text that JSON shows as null when it is not set.
type orNull string

// MarshalJSONTo implements json.MarshalerTo.
func (s orNull) MarshalJSONTo(enc *jsontext.Encoder) error {
	if s == "" {
		return enc.WriteToken(jsontext.Null)
	}
	return enc.WriteToken(jsontext.String(string(s)))
}

var _ json.MarshalerTo = orNull("")
