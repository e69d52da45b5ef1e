package http

import (
	"cmp"
	"slices"
	"time"

	"konto/commands"
	"konto/events"
)

// accountMe is HostUp's AccountMe: an account as one caller sees it.
type accountMe struct {
	account     *events.Account
	caller      *events.Credential
	elevated    string // the role that administrators need for actions
	parentEmail string // of the account that delegated access to the caller, or ""
	now         time.Time
}

// write writes the members in the order of the contract's example.
func (me accountMe) write(w *jsonWriter) {
	a, caller, required := me.account, me.caller, requirementsOf(me.account)
	w.text("id", publicID("client_", a.ID))
	w.orNull("name", cmp.Or(commands.PersonName(&a.Profile), a.Profile.CompanyName))
	w.orNull("email", a.Email)
	writeProfile(w, a, required)
	w.flag("verified", a.Facts.Verified)
	w.orNull("adminId", caller.Admin)
	w.flag("isAdmin", caller.Admin != "")
	w.flag("isContact", false) // konto has no contacts
	w.flag("canPlaceOrders", !isDelegated(caller) && len(required.missing()) == 0)
	w.flag("impersonating", caller.Admin != "")
	authType := caller.AuthType
	if authType == authJWT { // HostUp's list of values has none for it, and the rights are those of a key
		authType = "api-key"
	}
	w.text("authType", authType)
	w.flag("shouldMigrateMFA", false) // MFA belongs to another service
	w.orNull("bankidUserName", a.Facts.BankIDName)
	me.writeCaller(w)
	writeBanners(w, a)
	writeEmailChange(w, &a.EmailChange, me.now)
	writeActions(w, a, caller, me.elevated)
}

// writeProfile writes the fields that an update may change, and which required ones
// are missing.
func writeProfile(w *jsonWriter, a *events.Account, required requirements) {
	p := &a.Profile
	w.orNull("firstName", p.FirstName)
	w.orNull("lastName", p.LastName)
	w.orNull("companyName", p.CompanyName)
	if id := &p.RegistrationIdentifier; *id == (events.RegistrationIdentifier{}) {
		w.null("registrationIdentifier")
	} else {
		w.begin("registrationIdentifier")
		w.text("value", id.Value)
		w.text("countryCode", id.CountryCode)
		w.text("type", id.Type)
		w.end()
	}
	w.orNull("countryCode", p.CountryCode)
	w.orNull("phoneNumber", p.PhoneNumber)
	w.orNull("languageCode", p.LanguageCode)
	w.orNull("currencyCode", p.CurrencyCode)
	w.text("accountType", cmp.Or(p.AccountType, events.TypePrivate))
	w.orNull("vatNumber", p.VATNumber)
	w.orNull("invoiceReference", p.InvoiceReference)
	required.write(w)
	w.begin("address")
	w.orNull("street", p.Address.Street)
	w.orNull("city", p.Address.City)
	w.orNull("postalCode", p.Address.PostalCode)
	w.orNull("state", p.Address.State)
	w.end()
}

// writeCaller writes the members that depend on the caller's credential.
func (me accountMe) writeCaller(w *jsonWriter) {
	caller, delegated, parent := me.caller, isDelegated(me.caller), ""
	if delegated {
		parent = publicID("client_", caller.Parent)
	}
	w.texts("scopes", caller.Scopes)
	w.flag("canViewInvoices", slices.Contains(caller.Scopes, "read:billing"))
	w.flag("canViewTickets", slices.Contains(caller.Scopes, "read:support"))
	w.flag("canAccessCdn", !delegated)
	w.flag("canRequestEpp", !delegated)
	w.orNull("adminUsername", caller.Admin)
	w.texts("adminRoles", caller.Roles)
	w.null("adminLanguage") // sessions do not record it
	w.orNull("parentClientId", parent)
	w.orNull("parentEmail", me.parentEmail)
	w.flag("isBillingSso", caller.AuthType == "billing-sso")
	w.flag("isDelegatedAccess", delegated)
	w.flag("hasDelegatedGrants", false) // grants belong to another service,
	w.flag("hasOwnedAccounts", false)   // and so do the accounts that they give access to
	w.orNull("delegatedLabel", caller.Label)
	w.orNull("delegatedGrantId", caller.Grant)
}

// requirement is a field that the account must have if it has domains of a kind.
type requirement struct {
	field     string
	fulfilled bool
	domains   int
	source    string
	reason    string
}

type requirements [2]requirement

func requirementsOf(a *events.Account) requirements {
	identifier := &a.Profile.RegistrationIdentifier
	reason := "A personal identity number is required because your account has active .se or .nu domains."
	if identifier.Type == events.IdentifierOrganisation ||
		identifier.Type == "" && a.Profile.AccountType == events.TypeOrganisation {
		reason = "An organisation number is required because your account has active .se or .nu domains."
	}
	return requirements{
		{"phoneNumber", a.Profile.PhoneNumber != "", a.Facts.ActiveDomains, "active_domains",
			"A phone number is required because your account has active domains."},
		{"registrationIdentifier", identifier.Value != "", a.Facts.SeNuDomains, "active_se_nu_domains", reason},
	}
}

// missing lists the fields that the account must have and does not have.
func (required requirements) missing() (fields []string) {
	for _, r := range required {
		if r.domains > 0 && !r.fulfilled {
			fields = append(fields, r.field)
		}
	}
	return fields
}

func (required requirements) write(w *jsonWriter) {
	w.begin("profileRequirements")
	w.begin("fields")
	for _, r := range required {
		if r.domains == 0 {
			r.reason, r.source = "", ""
		}
		w.begin(r.field)
		w.flag("required", r.domains > 0)
		w.flag("fulfilled", r.fulfilled)
		w.orNull("reason", r.reason)
		w.orNull("source", r.source)
		w.number("domainCount", r.domains)
		w.end()
	}
	w.end()
	w.texts("missingFields", required.missing())
	w.end()
}

// banner is one banner of the dashboard.
type banner struct {
	show   bool
	reason string
}

// write begins the banner's object. The caller ends it.
func (b banner) write(w *jsonWriter, name string) {
	w.begin(name)
	w.flag("show", b.show)
	w.text("reason", b.reason)
}

func writeBanners(w *jsonWriter, a *events.Account) {
	w.begin("uiBanners")
	newCurrencyBanner(&a.Profile).write(w, "eurCurrency")
	w.end()
	order := newOrderBanner(&a.Facts)
	order.write(w, "pendingOrder")
	if order.show {
		w.begin("order")
		w.text("id", a.Facts.PendingOrder)
		w.end()
	} else {
		w.null("order")
	}
	w.end()
	w.end()
}

// newCurrencyBanner offers euros to accounts of the euro area that pay in another
// currency.
func newCurrencyBanner(p *events.Profile) banner {
	switch {
	case p.CountryCode == "":
		return banner{reason: "User country is not known - banner suppressed."}
	case !slices.Contains(euroArea, p.CountryCode):
		return banner{reason: "User country is " + p.CountryCode + " - banner suppressed."}
	case p.CurrencyCode == "EUR":
		return banner{reason: "Account currency is EUR - banner suppressed."}
	}
	return banner{show: true, reason: "User country is " + p.CountryCode + " and the account currency is not EUR."}
}

// euroArea lists the members as of 2026, and Åland, which has its own code.
var euroArea = []string{
	"AT", "AX", "BE", "BG", "CY", "DE", "EE", "ES", "FI", "FR", "GR", "HR", "IE", "IT", "LT", "LU", "LV", "MT", "NL", "PT", "SI", "SK",
}

// newOrderBanner asks for BankID verification if an order waits for it.
func newOrderBanner(f *events.Facts) banner {
	switch {
	case f.Verified:
		return banner{reason: "BankID verification already completed."}
	case f.PendingOrder == "":
		return banner{reason: "No order is waiting for verification."}
	}
	return banner{show: true, reason: "An order is waiting for BankID verification."}
}

// writeEmailChange writes the state of an email change that the user requested:
// none, pending or verified.
func writeEmailChange(w *jsonWriter, e *events.PendingEmail, now time.Time) {
	status, email, expires := "none", "", ""
	switch {
	case e.Pending(now):
		status, email, expires = "pending", e.NewEmail, milliseconds(e.ExpiresAt).String()
	case e.Verified:
		status = "verified"
	}
	w.begin("emailChangeState")
	w.text("status", status)
	w.orNull("pendingEmail", email)
	w.orNull("expiresAt", expires)
	w.end()
}

// writeActions writes which actions the caller may use, with the answer that the
// action itself would give.
func writeActions(w *jsonWriter, a *events.Account, caller *events.Credential, elevated string) {
	other := actionAccess.check(caller, elevated)
	w.begin("actions")
	writeAction(w, "canChangeEmail", mayChangeEmail(a, caller, elevated))
	writeAction(w, "canChangePassword", other)
	writeAction(w, "canSetupBankID", other)
	w.end()
}

// writeAction writes a reason and a code only if the action is refused.
func writeAction(w *jsonWriter, name string, refusal error) {
	w.begin(name)
	w.flag("allowed", refusal == nil)
	if refusal == nil {
		w.null("reason")
	} else {
		row := hostup.errors.find(refusal)
		w.text("reason", row.text)
		w.text("code", row.code)
	}
	w.end()
}
