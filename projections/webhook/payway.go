package webhook

import (
	"context"
	"time"
	_ "time/tzdata" // Payway's times are Swedish, and the machine may lack time zones

	"github.com/go-json-experiment/json/jsontext"

	"konto/events"
)

// Payway's names of the events.
const (
	paywayChanged   = "account_changed"
	paywayRequested = "account_requested_email_change"
	paywayErased    = "account_erased" // konto's own: Payway defines no such event
	paywayTest      = "test"           // konto's own
)

// paywayName is Payway's name for an event. Every other event is a change of the account.
func paywayName(e *events.Event) string {
	switch e.Type {
	case events.TypeAccountErased:
		return paywayErased
	case events.TypeEmailChangeRequested:
		return paywayRequested
	}
	return paywayChanged
}

// paywayEvent is Payway's webhook format. Entities that the event is not about are empty objects.
type paywayEvent struct {
	Event     string        `json:"event"`
	Timestamp string        `json:"timestamp"` // UTC, milliseconds
	Payload   paywayPayload `json:"payload"`
}

type paywayPayload struct {
	Account   any      `json:"account"`
	EventData any      `json:"event_data"`
	Order     struct{} `json:"order"`
	Payment   struct{} `json:"payment"`
}

// paywayRequest has the URL at which a change is confirmed. It is always empty: whoever has
// the URL can confirm, so a third party gets neither it nor any code.
type paywayRequest struct {
	EmailChangeURL string `json:"email_change_url"`
}

// paywayID is all that is sent of an erased account.
type paywayID struct {
	ID string `json:"id"`
}

func newPaywayEvent(name string, at time.Time) *paywayEvent {
	return &paywayEvent{
		Event: name, Timestamp: at.UTC().Format("2006-01-02T15:04:05.000Z"),
		Payload: paywayPayload{Account: struct{}{}, EventData: struct{}{}},
	}
}

// payway composes an event in the webhook format, with the account as it was then.
func (s *Sender) payway(ctx context.Context, e *events.Event) (message, error) {
	a, err := s.accountAt(ctx, e)
	if err != nil {
		return message{}, err
	}
	shown := newPaywayEvent(paywayName(e), e.Time)
	shown.Payload.Account = newPaywayAccount(&a, e.Time)
	switch shown.Event {
	case paywayErased:
		shown.Payload.Account = paywayID{a.PaywayID}
	case paywayRequested:
		shown.Payload.EventData = paywayRequest{}
	}
	return jsonMessage(shown)
}

// paywayAccount is payload.account. Members that konto does not have, and the codes, which no
// third party may see, are always "".
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

// number is null when it is absent, and otherwise the text that konto was given, because
// leading zeros count and some systems' numbers have letters. Customer and loyalty card numbers
// are numbers. The parts of an address are strings, as in Payway's contract for the update.
type number string

// MarshalJSONTo writes null for none.
func (n number) MarshalJSONTo(enc *jsontext.Encoder) error {
	if n == "" {
		return enc.WriteToken(jsontext.Null)
	}
	return enc.WriteToken(jsontext.String(string(n)))
}

// newPaywayAccount is the account as of a time.
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

// paywaySSIEvent is Payway's format for subscription systems.
type paywaySSIEvent struct {
	Name           string            `json:"event_name"`
	Timestamp      string            `json:"timestamp"` // with its offset
	AccountID      string            `json:"account_id"`
	Email          string            `json:"email"`
	CustomerNumber number            `json:"customer_number"`
	Customer       paywaySSICustomer `json:"customer"`
}

type paywaySSICustomer struct {
	ContactEmail   string `json:"contact_email"`
	CustomerNumber number `json:"customer_number"`
	FirstName      string `json:"first_name"`
	LastName       string `json:"last_name"`
	PhoneNumber    string `json:"phone_number"`
	SSN            string `json:"ssn"`
	CRN            string `json:"crn"`
	CompanyName    string `json:"company_name"`
	BirthDate      string `json:"birth_date"`
}

// paywaySSIErasure is the format for an account of which nothing else is left.
type paywaySSIErasure struct {
	Name      string `json:"event_name"`
	Timestamp string `json:"timestamp"`
	AccountID string `json:"account_id"`
}

// paywaySSI composes an event in the subscription systems' format, with the account as it was
// then.
func (s *Sender) paywaySSI(ctx context.Context, e *events.Event) (message, error) {
	a, err := s.accountAt(ctx, e)
	if err != nil {
		return message{}, err
	}
	name, at := paywayName(e), paywayTime(e.Time)
	if name == paywayErased {
		return jsonMessage(paywaySSIErasure{name, at, a.PaywayID})
	}
	p := &a.Profile
	customerNumber := number(p.CustomerNumber)
	return jsonMessage(paywaySSIEvent{
		Name: name, Timestamp: at, AccountID: a.PaywayID, Email: a.Email, CustomerNumber: customerNumber,
		Customer: paywaySSICustomer{
			ContactEmail: a.Email, CustomerNumber: customerNumber, FirstName: p.FirstName, LastName: p.LastName,
			PhoneNumber: p.PhoneNumber, SSN: p.SocialSecurityNumber, CRN: p.CompanyRegistrationNumber,
			CompanyName: p.CompanyName, BirthDate: p.BirthDate,
		},
	})
}

// accountAt is the account right after the event. For an erasure it is the account's Payway id,
// from the notice or, if there is none, from the account before the erasure while its key still
// exists.
func (s *Sender) accountAt(ctx context.Context, e *events.Event) (events.Account, error) {
	category, id, err := e.Stream.Split()
	if err != nil || category != events.CategoryAccount {
		return events.Account{}, errInexpressible
	}
	version := e.Version
	if e.Type == events.TypeAccountErased {
		if s.Notices != nil {
			paywayID, ok, err := s.Notices.Notice(ctx, id)
			if ok || err != nil {
				return events.Account{ID: id, PaywayID: paywayID}, err
			}
		}
		version--
	}
	a, err := s.Accounts.AccountAt(ctx, id, version)
	if err == nil && a.Erased {
		err = errErased
	}
	return a, err
}

// swedish is the time zone of Payway's times with an offset.
var swedish = func() *time.Location {
	where, err := time.LoadLocation("Europe/Stockholm")
	if err != nil {
		panic(err) // it is compiled in, so this does not happen
	}
	return where
}()

// paywayTime is a time with its offset, such as 2021-03-22T15:01:07+01:00.
func paywayTime(at time.Time) string { return at.In(swedish).Format("2006-01-02T15:04:05-07:00") }
