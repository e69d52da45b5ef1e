package http

import (
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"konto/commands"
	"konto/events"
)

// accountMe is HostUp's AccountMe: an account as it is shown to a caller.
type accountMe struct {
	account     *events.Account
	who         *events.Credential
	elevated    string // the role that administrators need for actions
	parentEmail string // of the account that delegated access to the caller, "" if none did
	now         time.Time
}

// write writes the members in the order of the contract's example.
func (me accountMe) write(o *object) {
	a, who, required := me.account, me.who, newRequirements(me.account)
	o.text("id", publicID("client_", a.ID))
	o.orNull("name", displayName(&a.Profile))
	o.orNull("email", a.Email)
	writeProfile(o, a, &required)
	o.flag("verified", a.Facts.Verified)
	o.orNull("adminId", who.Admin)
	o.flag("isAdmin", who.Admin != "")
	o.flag("isContact", false) // konto has no contacts
	o.flag("canPlaceOrders", !isDelegated(who) && len(required.missing()) == 0)
	o.flag("impersonating", who.Admin != "")
	o.text("authType", who.AuthType)
	o.flag("shouldMigrateMFA", false) // MFA is another service's
	o.orNull("bankidUserName", a.Facts.BankIDName)
	me.writeCaller(o)
	writeBanners(o, a)
	writeEmailChange(o, &a.EmailChange, me.now)
	writeActions(o, a, who, me.elevated)
}

// writeProfile writes what an update may change, and what is missing of it.
func writeProfile(o *object, a *events.Account, required *requirements) {
	p := &a.Profile
	o.orNull("firstName", p.FirstName)
	o.orNull("lastName", p.LastName)
	o.orNull("companyName", p.CompanyName)
	if id := &p.RegistrationIdentifier; *id == (events.RegistrationIdentifier{}) {
		o.null("registrationIdentifier")
	} else {
		o.begin("registrationIdentifier")
		o.text("value", id.Value)
		o.text("countryCode", id.CountryCode)
		o.text("type", id.Type)
		o.end()
	}
	o.orNull("countryCode", p.CountryCode)
	o.orNull("phoneNumber", p.PhoneNumber)
	o.orNull("languageCode", p.LanguageCode)
	o.orNull("currencyCode", p.CurrencyCode)
	o.text("accountType", accountType(p))
	o.orNull("vatNumber", p.VATNumber)
	o.orNull("invoiceReference", p.InvoiceReference)
	required.write(o)
	o.begin("address")
	o.orNull("street", p.Address.Street)
	o.orNull("city", p.Address.City)
	o.orNull("postalCode", p.Address.PostalCode)
	o.orNull("state", p.Address.State)
	o.end()
}

// writeCaller writes what the caller's credential makes of the account.
func (me accountMe) writeCaller(o *object) {
	who, delegated, parent := me.who, isDelegated(me.who), ""
	if delegated {
		parent = publicID("client_", who.Parent)
	}
	o.texts("scopes", who.Scopes)
	o.flag("canViewInvoices", slices.Contains(who.Scopes, "read:billing"))
	o.flag("canViewTickets", slices.Contains(who.Scopes, "read:support"))
	o.flag("canAccessCdn", !delegated)
	o.flag("canRequestEpp", !delegated)
	o.orNull("adminUsername", who.Admin)
	o.texts("adminRoles", who.Roles)
	o.null("adminLanguage") // sessions do not say
	o.orNull("parentClientId", parent)
	o.orNull("parentEmail", me.parentEmail)
	o.flag("isBillingSso", who.AuthType == "billing-sso")
	o.flag("isDelegatedAccess", delegated)
	o.flag("hasDelegatedGrants", false) // grants are another service's,
	o.flag("hasOwnedAccounts", false)   // and so are the accounts they reach
	o.orNull("delegatedLabel", who.Label)
	o.orNull("delegatedGrantId", who.Grant)
}

// displayName is the person's name, the company's where there is none.
func displayName(p *events.Profile) string {
	if name := commands.PersonName(p); name != "" {
		return name
	}
	return p.CompanyName
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
