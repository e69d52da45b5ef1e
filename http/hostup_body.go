package http

import (
	"konto/commands"
	"konto/events"
)

// hostupBody holds the members of PATCH /api/v2/me. Where a member may be
// null, null clears it; commands has the rules for the values.
var hostupBody = append([]member{
	{name: "firstName", to: func(b *body) *change { return &b.update.Profile.FirstName }},
	{name: "lastName", to: func(b *body) *change { return &b.update.Profile.LastName }},
	nullable("companyName", func(b *body) *change { return &b.update.Profile.CompanyName }),
	{name: "countryCode", to: func(b *body) *change { return &b.update.Profile.CountryCode }},
	{name: "phoneNumber", to: func(b *body) *change { return &b.update.Profile.PhoneNumber }},
	{name: "languageCode", check: oneOf("sv", "en", "no", "da", "fi", "de"),
		to: func(b *body) *change { return &b.update.Profile.LanguageCode }},
	nullable("vatNumber", func(b *body) *change { return &b.update.Profile.VATNumber }),
	nullable("invoiceReference", func(b *body) *change { return &b.update.Profile.InvoiceReference }),
	{name: "accountType", check: oneOf(events.TypePrivate, events.TypeOrganisation),
		to: func(b *body) *change { return &b.update.Profile.AccountType }},
	{name: "registrationIdentifier",
		clear: func(b *body) {
			b.update.Profile.RegistrationIdentifier = events.Clear[events.RegistrationIdentifier]()
		},
		members: []member{
			{name: "value", required: true, to: func(b *body) *change { return &b.identifier }},
			{name: "countryCode", to: func(b *body) *change { return &b.identifierLand }},
			{name: "type", foreign: true}, // derived from the value
		}},
	{name: "address", members: []member{
		nullable("street", func(b *body) *change { return &b.update.Profile.Address.Street }),
		nullable("city", func(b *body) *change { return &b.update.Profile.Address.City }),
		nullable("postalCode", func(b *body) *change { return &b.update.Profile.Address.PostalCode }),
		nullable("state", func(b *body) *change { return &b.update.Profile.Address.State }),
	}},
}, foreign(
	// The rest of AccountMe, which is read-only or another service's.
	"id", "name", "email", "currencyCode", "profileRequirements", "verified", "adminId", "isAdmin", "isContact",
	"canPlaceOrders", "impersonating", "authType", "shouldMigrateMFA", "bankidUserName", "scopes", "canViewInvoices",
	"canViewTickets", "canAccessCdn", "canRequestEpp", "adminUsername", "adminRoles", "adminLanguage", "parentClientId",
	"parentEmail", "isBillingSso", "isDelegatedAccess", "hasDelegatedGrants", "hasOwnedAccounts", "delegatedLabel",
	"delegatedGrantId", "uiBanners", "emailChangeState", "actions",
	// What the contract's introduction names.
	"accountId", "password", "mfa", "mfaEnabled", "bankIdOnlyLogin", "bankidOnlyLogin", "bankIdPersonnummer",
	"bankidPersonnummer", "personnummer",
)...)

type change = events.Change[string]

func nullable(name string, to func(*body) *change) member {
	return member{name: name, to: to, clear: func(b *body) { *to(b) = events.Clear[string]() }}
}

func foreign(names ...string) []member {
	members := make([]member, len(names))
	for i, name := range names {
		members[i] = member{name: name, foreign: true}
	}
	return members
}

// hostupUpdate reads the update that the request asks for. Wrong members stay
// in it as Rejected, so that commands tells of its own beside them.
func (x *exchange) hostupUpdate() (*commands.Update, error) {
	data, err := x.jsonBody()
	if err != nil {
		return nil, err
	}
	var b body
	if err := b.read(data, hostupBody); err != nil {
		return nil, err
	}
	if b.identifier.Made && !b.isWrong("/registrationIdentifier/countryCode") {
		b.update.Profile.RegistrationIdentifier = events.Set(events.RegistrationIdentifier{
			Value: b.identifier.To, CountryCode: b.identifierLand.To,
		})
	}
	b.update.Rejected, b.update.If = b.wrong, condition(x.r.Header)
	return &b.update, nil
}
