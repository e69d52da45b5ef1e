package events

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

// Reduced is u without the changes that would leave p as it is.
func (u ProfileUpdated) Reduced(p Profile) ProfileUpdated {
	u.each(&p, func(change *Change[string], field *string) { change.reduce(*field) })
	u.RegistrationIdentifier.reduce(p.RegistrationIdentifier)
	return u
}

// apply makes the changes.
func (u ProfileUpdated) apply(p *Profile) {
	u.each(p, func(change *Change[string], field *string) { change.apply(field) })
	u.RegistrationIdentifier.apply(&p.RegistrationIdentifier)
}

// each pairs every textual change with its field. A test holds it against the
// two structs, so that a field added to them cannot be forgotten here.
func (u *ProfileUpdated) each(p *Profile, visit func(change *Change[string], field *string)) {
	visit(&u.FirstName, &p.FirstName)
	visit(&u.LastName, &p.LastName)
	visit(&u.CompanyName, &p.CompanyName)
	visit(&u.Alias, &p.Alias)
	visit(&u.AccountType, &p.AccountType)
	visit(&u.AccountOrigin, &p.AccountOrigin)
	visit(&u.BirthDate, &p.BirthDate)
	visit(&u.PhoneNumber, &p.PhoneNumber)
	visit(&u.CountryCode, &p.CountryCode)
	visit(&u.LanguageCode, &p.LanguageCode)
	visit(&u.CurrencyCode, &p.CurrencyCode)
	visit(&u.TimeZone, &p.TimeZone)
	visit(&u.VATNumber, &p.VATNumber)
	visit(&u.InvoiceReference, &p.InvoiceReference)
	visit(&u.CustomerNumber, &p.CustomerNumber)
	visit(&u.SocialSecurityNumber, &p.SocialSecurityNumber)
	visit(&u.CompanyRegistrationNumber, &p.CompanyRegistrationNumber)
	u.Address.each(&p.Address, visit)
}

func (u *AddressUpdated) each(a *Address, visit func(change *Change[string], field *string)) {
	visit(&u.FirstName, &a.FirstName)
	visit(&u.LastName, &a.LastName)
	visit(&u.Street, &a.Street)
	visit(&u.StreetNumber, &a.StreetNumber)
	visit(&u.Building, &a.Building)
	visit(&u.Staircase, &a.Staircase)
	visit(&u.Floor, &a.Floor)
	visit(&u.ApartmentNumber, &a.ApartmentNumber)
	visit(&u.CareOf, &a.CareOf)
	visit(&u.Dropbox, &a.Dropbox)
	visit(&u.PostalCode, &a.PostalCode)
	visit(&u.City, &a.City)
	visit(&u.State, &a.State)
	visit(&u.CountryCode, &a.CountryCode)
	visit(&u.CitizenshipCountryCode, &a.CitizenshipCountryCode)
	visit(&u.MobileNumber, &a.MobileNumber)
	visit(&u.PhoneNumber, &a.PhoneNumber)
	visit(&u.CompanyName, &a.CompanyName)
	visit(&u.CompanyReference, &a.CompanyReference)
	visit(&u.CompanyDepartment, &a.CompanyDepartment)
	visit(&u.CompanyCRN, &a.CompanyCRN)
	visit(&u.CompanyVATNumber, &a.CompanyVATNumber)
}
