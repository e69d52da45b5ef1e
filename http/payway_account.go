package http

import "konto/events"

// accountPayway is the account as GET and POST of the present contract answer it:
// what identifies it first, then what can be updated under the names of the
// update. All members are always there, and null when they are not set.
type accountPayway struct {
	ID                        string        `json:"id"`
	Email                     string        `json:"email"`
	Status                    string        `json:"status"`   // active: an erased account is not shown
	Verified                  bool          `json:"verified"` // the person, as in HostUp's contract
	CustomerNumber            orNull        `json:"customer_number"`
	FirstName                 orNull        `json:"first_name"`
	LastName                  orNull        `json:"last_name"`
	Alias                     orNull        `json:"alias"`
	MobilePhoneNumber         orNull        `json:"mobile_phone_number"`
	SocialSecurityNumber      orNull        `json:"social_security_number"`
	BirthDate                 orNull        `json:"birth_date"`
	CompanyRegistrationNumber orNull        `json:"company_registration_number"`
	CompanyName               orNull        `json:"company_name"`
	AccountOrigin             orNull        `json:"account_origin"`
	Address                   addressPayway `json:"address"`
}

type addressPayway struct {
	FirstName              orNull `json:"first_name"`
	LastName               orNull `json:"last_name"`
	Street                 orNull `json:"street"`
	Building               orNull `json:"building"`
	CountryCode            orNull `json:"country_code"`
	ZipCode                orNull `json:"zip_code"`
	City                   orNull `json:"city"`
	StreetNumber           orNull `json:"street_number"`
	Staircase              orNull `json:"staircase"`
	Floor                  orNull `json:"floor"`
	ApartmentNumber        orNull `json:"apartment_number"`
	MobileNumber           orNull `json:"mobile_number"`
	PhoneNumber            orNull `json:"phone_number"`
	CitizenshipCountryCode orNull `json:"citizenship_country_code"`
	Dropbox                orNull `json:"dropbox"`
	CompanyName            orNull `json:"company_name"`
	CompanyReference       orNull `json:"company_reference"`
	CompanyDepartment      orNull `json:"company_department"`
	CompanyCRN             orNull `json:"company_crn"`
	CompanyVATNumber       orNull `json:"company_vat_number"`
	CareOf                 orNull `json:"care_of"`
}

func newPaywayAccount(a *events.Account) *accountPayway {
	p := &a.Profile
	return &accountPayway{
		ID: a.PaywayID, Email: a.Email, Status: "active", Verified: a.Facts.Verified,
		CustomerNumber: orNull(p.CustomerNumber), FirstName: orNull(p.FirstName), LastName: orNull(p.LastName),
		Alias: orNull(p.Alias), MobilePhoneNumber: orNull(p.PhoneNumber),
		SocialSecurityNumber: orNull(p.SocialSecurityNumber), BirthDate: orNull(p.BirthDate),
		CompanyRegistrationNumber: orNull(p.CompanyRegistrationNumber), CompanyName: orNull(p.CompanyName),
		AccountOrigin: orNull(p.AccountOrigin), Address: newPaywayAddress(&p.Address),
	}
}

func newPaywayAddress(a *events.Address) addressPayway {
	return addressPayway{
		FirstName: orNull(a.FirstName), LastName: orNull(a.LastName),
		Street: orNull(a.Street), Building: orNull(a.Building), CountryCode: orNull(a.CountryCode),
		ZipCode: orNull(a.PostalCode), City: orNull(a.City), StreetNumber: orNull(a.StreetNumber),
		Staircase: orNull(a.Staircase), Floor: orNull(a.Floor), ApartmentNumber: orNull(a.ApartmentNumber),
		MobileNumber: orNull(a.MobileNumber), PhoneNumber: orNull(a.PhoneNumber),
		CitizenshipCountryCode: orNull(a.CitizenshipCountryCode), Dropbox: orNull(a.Dropbox),
		CompanyName: orNull(a.CompanyName), CompanyReference: orNull(a.CompanyReference),
		CompanyDepartment: orNull(a.CompanyDepartment), CompanyCRN: orNull(a.CompanyCRN),
		CompanyVATNumber: orNull(a.CompanyVATNumber), CareOf: orNull(a.CareOf),
	}
}
