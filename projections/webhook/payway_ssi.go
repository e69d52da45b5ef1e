package webhook

import (
	"context"

	"konto/events"
)

// paywaySSIEvent is Payway's subscription-system shape.
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

// paywaySSIErasure is the shape for an account of which nothing else is left.
type paywaySSIErasure struct {
	Name      string `json:"event_name"`
	Timestamp string `json:"timestamp"`
	AccountID string `json:"account_id"`
}

// paywaySSI tells of an event in the subscription systems' shape, with the
// account as it was then.
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
