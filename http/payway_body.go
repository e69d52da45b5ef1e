package http

import "slices"

// paywayV1 and paywayV0 hold the members of PUT accounts: the present contract
// and the earlier one.
var (
	paywayV1 = slices.Concat(paywayCommon, []member{
		{name: "alias", field: "/alias", check: short, blank: true, unset: "__UNSET__",
			to: func(b *body) *change { return &b.update.Profile.Alias }},
		free("company_name", "/companyName", func(b *body) *change { return &b.update.Profile.CompanyName }),
		{name: "address", members: slices.Concat(paywayAddress, []member{
			must("building", "/address/building", func(b *body) *change { return &b.update.Profile.Address.Building }),
			free("mobile_number", "/address/mobileNumber", func(b *body) *change { return &b.update.Profile.Address.MobileNumber }),
			free("phone_number", "/address/phoneNumber", func(b *body) *change { return &b.update.Profile.Address.PhoneNumber }),
			free("citizenship_country_code", "/address/citizenshipCountryCode", func(b *body) *change { return &b.update.Profile.Address.CitizenshipCountryCode }),
			free("company_name", "/address/companyName", func(b *body) *change { return &b.update.Profile.Address.CompanyName }),
			free("company_reference", "/address/companyReference", func(b *body) *change { return &b.update.Profile.Address.CompanyReference }),
			free("company_department", "/address/companyDepartment", func(b *body) *change { return &b.update.Profile.Address.CompanyDepartment }),
			free("company_crn", "/address/companyCrn", func(b *body) *change { return &b.update.Profile.Address.CompanyCRN }),
			free("company_vat_number", "/address/companyVatNumber", func(b *body) *change { return &b.update.Profile.Address.CompanyVATNumber }),
			free("care_of", "/address/careOf", func(b *body) *change { return &b.update.Profile.Address.CareOf }),
		})},
	})
	paywayV0 = slices.Concat(paywayCommon, []member{{name: "address", members: paywayAddress}})
)

// paywayCommon holds what both versions take beside the address.
var paywayCommon = []member{
	{name: "id", required: true, check: paywayID, to: func(b *body) *change { return &b.paywayID }},
	{name: "atomic", flag: func(b *body, atomic bool) { b.update.Partial = !atomic }},
	{name: "email", field: "/email", check: paywayEmail, to: func(b *body) *change { return &b.update.Email }},
	free("first_name", "/firstName", func(b *body) *change { return &b.update.Profile.FirstName }),
	free("last_name", "/lastName", func(b *body) *change { return &b.update.Profile.LastName }),
	{name: "mobile_phone_number", field: "/phoneNumber", check: paywayMobile,
		to: func(b *body) *change { return &b.update.Profile.PhoneNumber }},
	{name: "social_security_number", field: "/socialSecurityNumber", check: paywaySocialSecurityNumber,
		to: func(b *body) *change { return &b.update.Profile.SocialSecurityNumber }},
	{name: "birth_date", field: "/birthDate", check: calendarDate,
		to: func(b *body) *change { return &b.update.Profile.BirthDate }},
	{name: "company_registration_number", field: "/companyRegistrationNumber", check: paywayCompanyNumber,
		to: func(b *body) *change { return &b.update.Profile.CompanyRegistrationNumber }},
	free("account_origin", "/accountOrigin", func(b *body) *change { return &b.update.Profile.AccountOrigin }),
}

// paywayAddress holds what both versions take of an address. A request that
// names an address names all required members of it, and keeps the others.
var paywayAddress = []member{
	must("first_name", "/address/firstName", func(b *body) *change { return &b.update.Profile.Address.FirstName }),
	must("last_name", "/address/lastName", func(b *body) *change { return &b.update.Profile.Address.LastName }),
	must("street", "/address/street", func(b *body) *change { return &b.update.Profile.Address.Street }),
	must("zip_code", "/address/postalCode", func(b *body) *change { return &b.update.Profile.Address.PostalCode }),
	must("city", "/address/city", func(b *body) *change { return &b.update.Profile.Address.City }),
	{name: "country_code", field: "/address/countryCode", required: true, check: oneOf("SE", "FI", "AX"),
		to: func(b *body) *change { return &b.update.Profile.Address.CountryCode }},
	free("street_number", "/address/streetNumber", func(b *body) *change { return &b.update.Profile.Address.StreetNumber }),
	free("staircase", "/address/staircase", func(b *body) *change { return &b.update.Profile.Address.Staircase }),
	free("floor", "/address/floor", func(b *body) *change { return &b.update.Profile.Address.Floor }),
	free("apartment_number", "/address/apartmentNumber", func(b *body) *change { return &b.update.Profile.Address.ApartmentNumber }),
	free("dropbox", "/address/dropbox", func(b *body) *change { return &b.update.Profile.Address.Dropbox }),
}

// free is an optional text without a format; "" clears it.
func free(name, field string, to func(*body) *change) member {
	return member{name: name, field: field, check: short, blank: true, to: to}
}

// must is a required text without a format.
func must(name, field string, to func(*body) *change) member {
	return member{name: name, field: field, check: present, required: true, to: to}
}
