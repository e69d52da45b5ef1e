package commands

import "konto/events"

// The fields whose values are unique over all accounts.
const (
	fieldEmail                = "/email"
	fieldSocialSecurityNumber = "/socialSecurityNumber"
	fieldPaywayID             = "/paywayId"
	fieldCustomerNumber       = "/customerNumber"
)

// profile checks every change of an update to the profile p. Changes to what p has
// already were taken out before. The account type and the country come first,
// since other fields are read in their light.
// formatsDecided is Update.FormatsDecided.
func (c *checker) profile(u *events.ProfileUpdated, p events.Profile, formatsDecided bool) {
	c.field("/accountType", &u.AccountType, accountType)
	c.field("/countryCode", &u.CountryCode, country)
	kind := changed(u.AccountType, p.AccountType)
	home := changed(u.CountryCode, p.CountryCode)
	if home == "" {
		home = defaultCountry
	}
	phone, person, company := phoneNumber(home), socialSecurityNumber(c.now), companyRegistrationNumber(c.now)
	if formatsDecided {
		phone, person, company = phoneNumberIfReadable(home), decidedNumber(c.now), decidedNumber(c.now)
	}
	c.field("/firstName", &u.FirstName, nil)
	c.field("/lastName", &u.LastName, nil)
	c.field("/companyName", &u.CompanyName, nil)
	c.field("/alias", &u.Alias, nil)
	c.field("/accountOrigin", &u.AccountOrigin, nil)
	c.field("/birthDate", &u.BirthDate, birthDate(c.now))
	c.field("/phoneNumber", &u.PhoneNumber, phone)
	c.field("/languageCode", &u.LanguageCode, languageTag)
	c.field("/currencyCode", &u.CurrencyCode, currencyCode)
	c.field("/timeZone", &u.TimeZone, timeZone)
	c.field("/vatNumber", &u.VATNumber, vatNumber)
	c.field("/invoiceReference", &u.InvoiceReference, nil)
	c.field(fieldCustomerNumber, &u.CustomerNumber, nil)
	c.field(fieldSocialSecurityNumber, &u.SocialSecurityNumber, person)
	c.field("/companyRegistrationNumber", &u.CompanyRegistrationNumber, company)
	c.identifier(&u.RegistrationIdentifier, p.RegistrationIdentifier, home, kind)
	c.address(&u.Address)
}

// address checks the members of an address. Its numbers are free text: no
// contract gives them a format.
func (c *checker) address(a *events.AddressUpdated) {
	c.field("/address/firstName", &a.FirstName, nil)
	c.field("/address/lastName", &a.LastName, nil)
	c.field("/address/street", &a.Street, nil)
	c.field("/address/streetNumber", &a.StreetNumber, nil)
	c.field("/address/building", &a.Building, nil)
	c.field("/address/staircase", &a.Staircase, nil)
	c.field("/address/floor", &a.Floor, nil)
	c.field("/address/apartmentNumber", &a.ApartmentNumber, nil)
	c.field("/address/careOf", &a.CareOf, nil)
	c.field("/address/dropbox", &a.Dropbox, nil)
	c.field("/address/postalCode", &a.PostalCode, nil)
	c.field("/address/city", &a.City, nil)
	c.field("/address/state", &a.State, nil)
	c.field("/address/countryCode", &a.CountryCode, country)
	c.field("/address/citizenshipCountryCode", &a.CitizenshipCountryCode, country)
	c.field("/address/mobileNumber", &a.MobileNumber, nil)
	c.field("/address/phoneNumber", &a.PhoneNumber, nil)
	c.field("/address/companyName", &a.CompanyName, nil)
	c.field("/address/companyReference", &a.CompanyReference, nil)
	c.field("/address/companyDepartment", &a.CompanyDepartment, nil)
	c.field("/address/companyCrn", &a.CompanyCRN, nil)
	c.field("/address/companyVatNumber", &a.CompanyVATNumber, nil)
}

// accountType is the rule for the account's type.
func accountType(value string) (string, *fault) {
	if value != events.TypePrivate && value != events.TypeOrganisation {
		return "", &fault{CodeInvalidValue, "The account type is either private or organisation."}
	}
	return value, nil
}
