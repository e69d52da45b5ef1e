package webhook

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"konto/events"
)

// paywayAccount is payload.account. Members that konto knows nothing of, and
// the codes, which no third party may see, are always "".
type paywayAccount struct {
	ID                     string        `json:"id"`
	OrganisationID         string        `json:"organisation_id"`
	FirstName              string        `json:"first_name"`
	LastName               string        `json:"last_name"`
	ContactEmail           string        `json:"contact_email"`
	MobileNumber           string        `json:"mobile_number"`
	Alias                  string        `json:"alias"`
	CustomerNumber         number        `json:"customer_number"`
	BirthDate              string        `json:"birth_date"`
	SSN                    string        `json:"ssn"`
	Status                 string        `json:"status"`
	LoyaltyCardNumber      number        `json:"loyalty_card_number"`
	AccountOrigin          string        `json:"account_origin"`
	Verified               bool          `json:"verified"`
	Created                string        `json:"created"`
	Updated                string        `json:"updated"`
	ConfirmationCode       string        `json:"confirmation_code"`
	ContactEmailForUpdate  string        `json:"contact_email_for_update"`
	ContactEmailUpdateCode string        `json:"contact_email_update_code"`
	Gender                 string        `json:"gender"`
	Address                paywayAddress `json:"address"`
}

type paywayAddress struct {
	ID              string `json:"id"`
	FirstName       string `json:"first_name"`
	LastName        string `json:"last_name"`
	Street          string `json:"street"`
	StreetNumber    string `json:"street_number"`
	Staircase       string `json:"staircase"`
	Floor           string `json:"floor"`
	ApartmentNumber string `json:"apartment_number"`
	ZipCode         string `json:"zip_code"`
	City            string `json:"city"`
	MobileNumber    string `json:"mobile_number"`
	PhoneNumber     string `json:"phone_number"`
	Email           string `json:"email"`
	CountryCode     string `json:"country_code"`
}

// number is null when it is absent, and else the text that konto was given:
// leading zeros count, and some systems' numbers have letters. Customer and
// loyalty card numbers are numbers; the parts of an address are texts, as in
// Payway's contract for the update.
type number string

// MarshalJSONTo writes null for none.
func (n number) MarshalJSONTo(enc *jsontext.Encoder) error {
	if n == "" {
		return enc.WriteToken(jsontext.Null)
	}
	return enc.WriteToken(jsontext.String(string(n)))
}

// newPaywayAccount shows the account as of a time.
func newPaywayAccount(a *events.Account, at time.Time) *paywayAccount {
	p := &a.Profile
	shown := &paywayAccount{
		ID: a.PaywayID, FirstName: p.FirstName, LastName: p.LastName, ContactEmail: a.Email,
		MobileNumber: p.PhoneNumber, Alias: p.Alias, CustomerNumber: number(p.CustomerNumber),
		BirthDate: p.BirthDate, SSN: p.SocialSecurityNumber, Status: "active", AccountOrigin: p.AccountOrigin,
		Verified: a.Facts.Verified, Created: paywayTime(a.Opened), Updated: paywayTime(a.Updated),
		Address: newPaywayAddress(&p.Address),
	}
	if a.EmailChange.Pending(at) {
		shown.ContactEmailForUpdate = a.EmailChange.NewEmail
	}
	return shown
}

func newPaywayAddress(a *events.Address) paywayAddress {
	return paywayAddress{
		FirstName: a.FirstName, LastName: a.LastName, Street: a.Street, StreetNumber: a.StreetNumber,
		Staircase: a.Staircase, Floor: a.Floor, ApartmentNumber: a.ApartmentNumber, ZipCode: a.PostalCode,
		City: a.City, MobileNumber: a.MobileNumber, PhoneNumber: a.PhoneNumber, CountryCode: a.CountryCode,
	}
}
