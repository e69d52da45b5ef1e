package http

import (
	"slices"
	"time"

	"konto/events"
)

// requirements tells which fields the account must still fill in.
type requirements struct{ phoneNumber, registrationIdentifier requirement }

// requirement is one field's. What is not required has no reason and no source.
type requirement struct {
	required, fulfilled bool
	reason, source      string
	domainCount         int
}

func newRequirements(a *events.Account) requirements {
	identifier := &a.Profile.RegistrationIdentifier
	reason := "A personal identity number is required because your account has active .se or .nu domains."
	if identifier.Type == events.IdentifierOrganisation ||
		identifier.Type == "" && a.Profile.AccountType == events.TypeOrganisation {
		reason = "An organisation number is required because your account has active .se or .nu domains."
	}
	return requirements{
		phoneNumber: newRequirement(a.Profile.PhoneNumber != "", a.Facts.ActiveDomains, "active_domains",
			"A phone number is required because your account has active domains."),
		registrationIdentifier: newRequirement(identifier.Value != "", a.Facts.SeNuDomains, "active_se_nu_domains", reason),
	}
}

func newRequirement(fulfilled bool, domains int, source, reason string) requirement {
	if domains == 0 {
		return requirement{fulfilled: fulfilled}
	}
	return requirement{required: true, fulfilled: fulfilled, reason: reason, source: source, domainCount: domains}
}

// missing names the fields that are required and empty.
func (r *requirements) missing() (fields []string) {
	if r.phoneNumber.missing() {
		fields = append(fields, "phoneNumber")
	}
	if r.registrationIdentifier.missing() {
		fields = append(fields, "registrationIdentifier")
	}
	return fields
}

func (r *requirement) missing() bool { return r.required && !r.fulfilled }

func (r *requirements) write(o *object) {
	o.begin("profileRequirements")
	o.begin("fields")
	r.phoneNumber.write(o, "phoneNumber")
	r.registrationIdentifier.write(o, "registrationIdentifier")
	o.end()
	o.texts("missingFields", r.missing())
	o.end()
}

func (r *requirement) write(o *object, field string) {
	o.begin(field)
	o.flag("required", r.required)
	o.flag("fulfilled", r.fulfilled)
	o.orNull("reason", r.reason)
	o.orNull("source", r.source)
	o.number("domainCount", r.domainCount)
	o.end()
}

// banner is one of the dashboard's.
type banner struct {
	show   bool
	reason string
}

// write begins the banner's object and leaves it open.
func (b banner) write(o *object, name string) {
	o.begin(name)
	o.flag("show", b.show)
	o.text("reason", b.reason)
}

func writeBanners(o *object, a *events.Account) {
	o.begin("uiBanners")
	newCurrencyBanner(&a.Profile).write(o, "eurCurrency")
	o.end()
	order := newOrderBanner(&a.Facts)
	order.write(o, "pendingOrder")
	if order.show {
		o.begin("order")
		o.text("id", a.Facts.PendingOrder)
		o.end()
	} else {
		o.null("order")
	}
	o.end()
	o.end()
}

// newCurrencyBanner offers euros to accounts of the euro area that pay in
// something else.
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

// euroArea holds the members as of 2026, and Åland, which has a code of its own.
var euroArea = []string{
	"AT", "AX", "BE", "BG", "CY", "DE", "EE", "ES", "FI", "FR", "GR", "HR", "IE", "IT", "LT", "LU", "LV", "MT", "NL", "PT", "SI", "SK",
}

// newOrderBanner asks for the BankID verification that an order waits for.
func newOrderBanner(f *events.Facts) banner {
	switch {
	case f.Verified:
		return banner{reason: "BankID verification already completed."}
	case f.PendingOrder == "":
		return banner{reason: "No order is waiting for verification."}
	}
	return banner{show: true, reason: "An order is waiting for BankID verification."}
}

// writeEmailChange tells where a change of address that the user asked for
// stands: none, pending or verified.
func writeEmailChange(o *object, e *events.PendingEmail, now time.Time) {
	status, email, expires := "none", "", ""
	switch {
	case e.Pending(now):
		status, email, expires = "pending", e.NewEmail, milliseconds(e.ExpiresAt).String()
	case e.Verified:
		status = "verified"
	}
	o.begin("emailChangeState")
	o.text("status", status)
	o.orNull("pendingEmail", email)
	o.orNull("expiresAt", expires)
	o.end()
}

// writeActions tells what the caller may do beside updating the profile, as the
// actions themselves would answer.
func writeActions(o *object, a *events.Account, who *events.Credential, elevated string) {
	other := actionAccess.check(who, elevated)
	o.begin("actions")
	writeAction(o, "canChangeEmail", mayChangeEmail(a, who, elevated))
	writeAction(o, "canChangePassword", other)
	writeAction(o, "canSetupBankID", other)
	o.end()
}

// writeAction gives a reason and a code only when the action is refused.
func writeAction(o *object, name string, refusal error) {
	o.begin(name)
	o.flag("allowed", refusal == nil)
	if refusal == nil {
		o.null("reason")
	} else {
		row := hostup.errors.find(refusal)
		o.text("reason", row.text)
		o.text("code", row.code)
	}
	o.end()
}
