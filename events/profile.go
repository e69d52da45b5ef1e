package events

import "strings"

// Profile is what the contracts may read and update of an account, apart from
// its email address. "" means not set.
type Profile struct {
	FirstName        string `json:"firstName,omitzero"`
	LastName         string `json:"lastName,omitzero"`
	CompanyName      string `json:"companyName,omitzero"`
	Alias            string `json:"alias,omitzero"`
	AccountType      string `json:"accountType,omitzero"` // TypePrivate or TypeOrganisation
	AccountOrigin    string `json:"accountOrigin,omitzero"`
	BirthDate        string `json:"birthDate,omitzero"`    // YYYY-MM-DD
	PhoneNumber      string `json:"phoneNumber,omitzero"`  // E.164
	CountryCode      string `json:"countryCode,omitzero"`  // ISO 3166-1 alpha-2
	LanguageCode     string `json:"languageCode,omitzero"` // BCP 47
	CurrencyCode     string `json:"currencyCode,omitzero"` // ISO 4217
	TimeZone         string `json:"timeZone,omitzero"`     // IANA
	VATNumber        string `json:"vatNumber,omitzero"`
	InvoiceReference string `json:"invoiceReference,omitzero"`
	// CustomerNumber is the subscription system's, unique where it is set.
	CustomerNumber string `json:"customerNumber,omitzero"`
	// SocialSecurityNumber is Payway's, and unique; HostUp's own identifier below is not.
	SocialSecurityNumber      string                 `json:"socialSecurityNumber,omitzero"`
	CompanyRegistrationNumber string                 `json:"companyRegistrationNumber,omitzero"`
	RegistrationIdentifier    RegistrationIdentifier `json:"registrationIdentifier,omitzero"`
	Address                   Address                `json:"address,omitzero"`
}

// The two account types.
const (
	TypePrivate      = "private"
	TypeOrganisation = "organisation"
)

// RegistrationIdentifier is HostUp's organisation number or personal identifier.
type RegistrationIdentifier struct {
	Value       string `json:"value"`       // in its canonical form, 850507-3412 in Sweden
	CountryCode string `json:"countryCode"` // ISO 3166-1 alpha-2
	Type        string `json:"type"`        // IdentifierPersonal or IdentifierOrganisation
}

// The two types of registration identifier.
const (
	IdentifierPersonal     = "personal_identifier"
	IdentifierOrganisation = "organisation_number"
)

// Address holds the members of both HostUp's and Payway's address; those that
// both know (street, postal code, city) are one field.
type Address struct {
	FirstName              string `json:"firstName,omitzero"`
	LastName               string `json:"lastName,omitzero"`
	Street                 string `json:"street,omitzero"`
	StreetNumber           string `json:"streetNumber,omitzero"`
	Building               string `json:"building,omitzero"`
	Staircase              string `json:"staircase,omitzero"`
	Floor                  string `json:"floor,omitzero"`
	ApartmentNumber        string `json:"apartmentNumber,omitzero"`
	CareOf                 string `json:"careOf,omitzero"`
	Dropbox                string `json:"dropbox,omitzero"`
	PostalCode             string `json:"postalCode,omitzero"`
	City                   string `json:"city,omitzero"`
	State                  string `json:"state,omitzero"`
	CountryCode            string `json:"countryCode,omitzero"`
	CitizenshipCountryCode string `json:"citizenshipCountryCode,omitzero"`
	MobileNumber           string `json:"mobileNumber,omitzero"`
	PhoneNumber            string `json:"phoneNumber,omitzero"`
	CompanyName            string `json:"companyName,omitzero"`
	CompanyReference       string `json:"companyReference,omitzero"`
	CompanyDepartment      string `json:"companyDepartment,omitzero"`
	CompanyCRN             string `json:"companyCrn,omitzero"`
	CompanyVATNumber       string `json:"companyVatNumber,omitzero"`
}

// ProfileUpdated holds only the fields that changed; an explicit null clears.
type ProfileUpdated struct {
	FirstName                 Change[string]                 `json:"firstName,omitzero"`
	LastName                  Change[string]                 `json:"lastName,omitzero"`
	CompanyName               Change[string]                 `json:"companyName,omitzero"`
	Alias                     Change[string]                 `json:"alias,omitzero"`
	AccountType               Change[string]                 `json:"accountType,omitzero"`
	AccountOrigin             Change[string]                 `json:"accountOrigin,omitzero"`
	BirthDate                 Change[string]                 `json:"birthDate,omitzero"`
	PhoneNumber               Change[string]                 `json:"phoneNumber,omitzero"`
	CountryCode               Change[string]                 `json:"countryCode,omitzero"`
	LanguageCode              Change[string]                 `json:"languageCode,omitzero"`
	CurrencyCode              Change[string]                 `json:"currencyCode,omitzero"`
	TimeZone                  Change[string]                 `json:"timeZone,omitzero"`
	VATNumber                 Change[string]                 `json:"vatNumber,omitzero"`
	InvoiceReference          Change[string]                 `json:"invoiceReference,omitzero"`
	CustomerNumber            Change[string]                 `json:"customerNumber,omitzero"`
	SocialSecurityNumber      Change[string]                 `json:"socialSecurityNumber,omitzero"`
	CompanyRegistrationNumber Change[string]                 `json:"companyRegistrationNumber,omitzero"`
	RegistrationIdentifier    Change[RegistrationIdentifier] `json:"registrationIdentifier,omitzero"`
	Address                   AddressUpdated                 `json:"address,omitzero"`
}

// AddressUpdated holds only the members of the address that changed.
type AddressUpdated struct {
	FirstName              Change[string] `json:"firstName,omitzero"`
	LastName               Change[string] `json:"lastName,omitzero"`
	Street                 Change[string] `json:"street,omitzero"`
	StreetNumber           Change[string] `json:"streetNumber,omitzero"`
	Building               Change[string] `json:"building,omitzero"`
	Staircase              Change[string] `json:"staircase,omitzero"`
	Floor                  Change[string] `json:"floor,omitzero"`
	ApartmentNumber        Change[string] `json:"apartmentNumber,omitzero"`
	CareOf                 Change[string] `json:"careOf,omitzero"`
	Dropbox                Change[string] `json:"dropbox,omitzero"`
	PostalCode             Change[string] `json:"postalCode,omitzero"`
	City                   Change[string] `json:"city,omitzero"`
	State                  Change[string] `json:"state,omitzero"`
	CountryCode            Change[string] `json:"countryCode,omitzero"`
	CitizenshipCountryCode Change[string] `json:"citizenshipCountryCode,omitzero"`
	MobileNumber           Change[string] `json:"mobileNumber,omitzero"`
	PhoneNumber            Change[string] `json:"phoneNumber,omitzero"`
	CompanyName            Change[string] `json:"companyName,omitzero"`
	CompanyReference       Change[string] `json:"companyReference,omitzero"`
	CompanyDepartment      Change[string] `json:"companyDepartment,omitzero"`
	CompanyCRN             Change[string] `json:"companyCrn,omitzero"`
	CompanyVATNumber       Change[string] `json:"companyVatNumber,omitzero"`
}

func (ProfileUpdated) payload() {}

// IsZero tells that no field changes.
func (u ProfileUpdated) IsZero() bool { return u == ProfileUpdated{} }

// Change is the textual change of the field at a JSON pointer such as
// /address/street, nil when there is no such field.
func (u *ProfileUpdated) Change(pointer string) *Change[string] {
	name, inAddress := strings.CutPrefix(pointer, "/address/")
	if !inAddress {
		name = strings.TrimPrefix(pointer, "/")
	}
	for i, f := range u.texts(new(Profile)) {
		if f.name == name && inAddress == (i >= addressTexts) {
			return f.change
		}
	}
	return nil
}

// Reduced is u without the changes that would leave p as it is.
func (u ProfileUpdated) Reduced(p Profile) ProfileUpdated {
	for _, f := range u.texts(&p) {
		f.change.reduce(*f.field)
	}
	u.RegistrationIdentifier.reduce(p.RegistrationIdentifier)
	return u
}

// apply makes the changes.
func (u ProfileUpdated) apply(p *Profile) {
	for _, f := range u.texts(p) {
		f.change.apply(f.field)
	}
	u.RegistrationIdentifier.apply(&p.RegistrationIdentifier)
}

// addressTexts is how many of texts are before the address.
const addressTexts = 17

// textChange is a textual change and the field that it is about.
type textChange struct {
	name   string // in JSON
	change *Change[string]
	field  *string
}

// texts pairs every textual change with its field. A test holds it against the
// two structs, so that a field added to them cannot be forgotten here. It is an
// array, and no function that is called for each, so that neither struct has to
// be copied to the heap: 3 KB for each update.
//
// Those from addressTexts on are the address's.
func (u *ProfileUpdated) texts(p *Profile) [39]textChange {
	v, a := &u.Address, &p.Address
	return [...]textChange{
		{"firstName", &u.FirstName, &p.FirstName},
		{"lastName", &u.LastName, &p.LastName},
		{"companyName", &u.CompanyName, &p.CompanyName},
		{"alias", &u.Alias, &p.Alias},
		{"accountType", &u.AccountType, &p.AccountType},
		{"accountOrigin", &u.AccountOrigin, &p.AccountOrigin},
		{"birthDate", &u.BirthDate, &p.BirthDate},
		{"phoneNumber", &u.PhoneNumber, &p.PhoneNumber},
		{"countryCode", &u.CountryCode, &p.CountryCode},
		{"languageCode", &u.LanguageCode, &p.LanguageCode},
		{"currencyCode", &u.CurrencyCode, &p.CurrencyCode},
		{"timeZone", &u.TimeZone, &p.TimeZone},
		{"vatNumber", &u.VATNumber, &p.VATNumber},
		{"invoiceReference", &u.InvoiceReference, &p.InvoiceReference},
		{"customerNumber", &u.CustomerNumber, &p.CustomerNumber},
		{"socialSecurityNumber", &u.SocialSecurityNumber, &p.SocialSecurityNumber},
		{"companyRegistrationNumber", &u.CompanyRegistrationNumber, &p.CompanyRegistrationNumber},
		{"firstName", &v.FirstName, &a.FirstName},
		{"lastName", &v.LastName, &a.LastName},
		{"street", &v.Street, &a.Street},
		{"streetNumber", &v.StreetNumber, &a.StreetNumber},
		{"building", &v.Building, &a.Building},
		{"staircase", &v.Staircase, &a.Staircase},
		{"floor", &v.Floor, &a.Floor},
		{"apartmentNumber", &v.ApartmentNumber, &a.ApartmentNumber},
		{"careOf", &v.CareOf, &a.CareOf},
		{"dropbox", &v.Dropbox, &a.Dropbox},
		{"postalCode", &v.PostalCode, &a.PostalCode},
		{"city", &v.City, &a.City},
		{"state", &v.State, &a.State},
		{"countryCode", &v.CountryCode, &a.CountryCode},
		{"citizenshipCountryCode", &v.CitizenshipCountryCode, &a.CitizenshipCountryCode},
		{"mobileNumber", &v.MobileNumber, &a.MobileNumber},
		{"phoneNumber", &v.PhoneNumber, &a.PhoneNumber},
		{"companyName", &v.CompanyName, &a.CompanyName},
		{"companyReference", &v.CompanyReference, &a.CompanyReference},
		{"companyDepartment", &v.CompanyDepartment, &a.CompanyDepartment},
		{"companyCrn", &v.CompanyCRN, &a.CompanyCRN},
		{"companyVatNumber", &v.CompanyVATNumber, &a.CompanyVATNumber},
	}
}
