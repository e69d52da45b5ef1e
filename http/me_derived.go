package http

import (
	"slices"
	"time"

	"konto/events"
)

// requirements tells which fields the account must still fill in.
type requirements struct {
	Fields struct {
		PhoneNumber            requirement `json:"phoneNumber"`
		RegistrationIdentifier requirement `json:"registrationIdentifier"`
	} `json:"fields"`
	MissingFields []string `json:"missingFields"`
}

// requirement is one field's. What is not required has no reason and no source.
type requirement struct {
	Required    bool   `json:"required"`
	Fulfilled   bool   `json:"fulfilled"`
	Reason      orNull `json:"reason"`
	Source      orNull `json:"source"`
	DomainCount int    `json:"domainCount"`
}

func newRequirements(a *events.Account) requirements {
	identifier := a.Profile.RegistrationIdentifier
	kind := "A personal identity number"
	if identifier.Type == events.IdentifierOrganisation ||
		identifier.Type == "" && a.Profile.AccountType == events.TypeOrganisation {
		kind = "An organisation number"
	}
	var r requirements
	r.Fields.PhoneNumber = newRequirement(a.Profile.PhoneNumber != "", a.Facts.ActiveDomains, "active_domains",
		"A phone number is required because your account has active domains.")
	r.Fields.RegistrationIdentifier = newRequirement(identifier.Value != "", a.Facts.SeNuDomains, "active_se_nu_domains",
		kind+" is required because your account has active .se or .nu domains.")
	if r.Fields.PhoneNumber.missing() {
		r.MissingFields = append(r.MissingFields, "phoneNumber")
	}
	if r.Fields.RegistrationIdentifier.missing() {
		r.MissingFields = append(r.MissingFields, "registrationIdentifier")
	}
	return r
}

func newRequirement(fulfilled bool, domains int, source, reason string) requirement {
	if domains == 0 {
		return requirement{Fulfilled: fulfilled}
	}
	return requirement{Required: true, Fulfilled: fulfilled, Reason: orNull(reason), Source: orNull(source), DomainCount: domains}
}

func (r requirement) missing() bool { return r.Required && !r.Fulfilled }

// banners are the dashboard's.
type banners struct {
	EURCurrency  currencyBanner `json:"eurCurrency"`
	PendingOrder orderBanner    `json:"pendingOrder"`
}

type currencyBanner struct {
	Show   bool   `json:"show"`
	Reason string `json:"reason"`
}

type orderBanner struct {
	Show   bool      `json:"show"`
	Reason string    `json:"reason"`
	Order  *orderRef `json:"order"`
}

type orderRef struct {
	ID string `json:"id"`
}

func newBanners(a *events.Account) banners {
	return banners{EURCurrency: newCurrencyBanner(&a.Profile), PendingOrder: newOrderBanner(&a.Facts)}
}

// newCurrencyBanner offers euros to accounts of the euro area that pay in
// something else.
func newCurrencyBanner(p *events.Profile) currencyBanner {
	switch {
	case p.CountryCode == "":
		return currencyBanner{Reason: "User country is not known - banner suppressed."}
	case !slices.Contains(euroArea, p.CountryCode):
		return currencyBanner{Reason: "User country is " + p.CountryCode + " - banner suppressed."}
	case p.CurrencyCode == "EUR":
		return currencyBanner{Reason: "Account currency is EUR - banner suppressed."}
	}
	return currencyBanner{Show: true, Reason: "User country is " + p.CountryCode + " and the account currency is not EUR."}
}

// euroArea holds the members as of 2026, and Åland, which has a code of its own.
var euroArea = []string{
	"AT", "AX", "BE", "BG", "CY", "DE", "EE", "ES", "FI", "FR", "GR", "HR", "IE", "IT", "LT", "LU", "LV", "MT", "NL", "PT", "SI", "SK",
}

// newOrderBanner asks for the BankID verification that an order waits for.
func newOrderBanner(f *events.Facts) orderBanner {
	switch {
	case f.Verified:
		return orderBanner{Reason: "BankID verification already completed."}
	case f.PendingOrder == "":
		return orderBanner{Reason: "No order is waiting for verification."}
	}
	return orderBanner{Show: true, Reason: "An order is waiting for BankID verification.", Order: &orderRef{ID: f.PendingOrder}}
}

// emailChange is where a change of address that the user asked for stands.
type emailChange struct {
	Status       string        `json:"status"` // none, pending or verified
	PendingEmail orNull        `json:"pendingEmail"`
	ExpiresAt    *milliseconds `json:"expiresAt"`
}

func newEmailChange(e *events.PendingEmail, now time.Time) emailChange {
	switch {
	case e.Pending(now):
		expires := milliseconds(e.ExpiresAt)
		return emailChange{Status: "pending", PendingEmail: orNull(e.NewEmail), ExpiresAt: &expires}
	case e.Verified:
		return emailChange{Status: "verified"}
	}
	return emailChange{Status: "none"}
}

// actions tells what the caller may do beside updating the profile.
type actions struct {
	CanChangeEmail    action `json:"canChangeEmail"`
	CanChangePassword action `json:"canChangePassword"`
	CanSetupBankID    action `json:"canSetupBankID"`
}

// action has a reason and a code only when it is blocked.
type action struct {
	Allowed bool   `json:"allowed"`
	Reason  orNull `json:"reason"`
	Code    string `json:"code,omitzero"`
}

func newActions(a *events.Account, who *events.Credential) actions {
	other := newAction(actionAccess.check(who))
	return actions{CanChangeEmail: newAction(mayChangeEmail(a, who)), CanChangePassword: other, CanSetupBankID: other}
}

// newAction shows what the action itself would answer.
func newAction(refusal error) action {
	if refusal == nil {
		return action{Allowed: true}
	}
	row := hostup.errors.find(refusal)
	return action{Reason: orNull(row.text), Code: row.code}
}
