package webhook

import (
	"context"
	"time"
	_ "time/tzdata" // Payway's times are Swedish, and the machine may lack time zones

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
func paywayEvent(name string, at time.Time, account, data object) object {
	return object{
		{"event", name},
		{"timestamp", at.UTC().Format("2006-01-02T15:04:05.000Z")},
		{"payload", object{{"account", account}, {"event_data", data}, {"order", object{}}, {"payment", object{}}}},
	}
}

// payway composes an event in the webhook format, with the account as it was then.
func (s *Sender) payway(ctx context.Context, e *events.Event) (message, error) {
	a, err := s.accountAt(ctx, e)
	if err != nil {
		return message{}, err
	}
	account, data := paywayAccount(&a, e.Time), object{}
	switch e.Type {
	case events.TypeAccountErased: // the id is all that is sent of an erased account
		account = object{{"id", a.PaywayID}}
	case events.TypeEmailChangeRequested:
		// The URL at which a change is confirmed is always empty: whoever has the URL can
		// confirm, so a third party gets neither it nor any code.
		data = object{{"email_change_url", ""}}
	}
	return jsonMessage(paywayEvent(paywayName(e), e.Time, account, data))
}

// paywayAccount is payload.account, as of a time. Members that konto does not have, and the
// codes, which no third party may see, are always "".
func paywayAccount(a *events.Account, at time.Time) object {
	p, address, requested := &a.Profile, &a.Profile.Address, ""
	if a.EmailChange.Pending(at) {
		requested = a.EmailChange.NewEmail
	}
	return object{
		{"id", a.PaywayID},
		{"organisation_id", ""},
		{"first_name", p.FirstName},
		{"last_name", p.LastName},
		{"contact_email", a.Email},
		{"mobile_number", p.PhoneNumber},
		{"alias", p.Alias},
		{"customer_number", number(p.CustomerNumber)},
		{"birth_date", p.BirthDate},
		{"ssn", p.SocialSecurityNumber},
		{"status", "active"},
		{"loyalty_card_number", nil},
		{"account_origin", p.AccountOrigin},
		{"verified", a.Facts.Verified},
		{"created", paywayTime(a.Opened)},
		{"updated", paywayTime(a.Updated)},
		{"confirmation_code", ""},
		{"contact_email_for_update", requested},
		{"contact_email_update_code", ""},
		{"gender", ""},
		{"address", object{
			{"id", ""},
			{"first_name", address.FirstName},
			{"last_name", address.LastName},
			{"street", address.Street},
			{"street_number", address.StreetNumber},
			{"staircase", address.Staircase},
			{"floor", address.Floor},
			{"apartment_number", address.ApartmentNumber},
			{"zip_code", address.PostalCode},
			{"city", address.City},
			{"mobile_number", address.MobileNumber},
			{"phone_number", address.PhoneNumber},
			{"email", ""},
			{"country_code", address.CountryCode},
		}},
	}
}

// number is null when it is absent, and otherwise the text that konto was given, because
// leading zeros count and some systems' numbers have letters. Customer and loyalty card numbers
// are numbers. The parts of an address are strings, as in Payway's contract for the update.
func number(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// paywaySSI composes an event in the subscription systems' format, with the account as it was
// then.
func (s *Sender) paywaySSI(ctx context.Context, e *events.Event) (message, error) {
	a, err := s.accountAt(ctx, e)
	if err != nil {
		return message{}, err
	}
	shown := paywaySSIEvent(paywayName(e), e.Time, &a)
	if e.Type == events.TypeAccountErased {
		shown = shown[:3] // nothing else is left of the account
	}
	return jsonMessage(shown)
}

// paywaySSIEvent is Payway's format for subscription systems.
func paywaySSIEvent(name string, at time.Time, a *events.Account) object {
	p := &a.Profile
	return object{
		{"event_name", name},
		{"timestamp", paywayTime(at)},
		{"account_id", a.PaywayID},
		{"email", a.Email},
		{"customer_number", number(p.CustomerNumber)},
		{"customer", object{
			{"contact_email", a.Email},
			{"customer_number", number(p.CustomerNumber)},
			{"first_name", p.FirstName},
			{"last_name", p.LastName},
			{"phone_number", p.PhoneNumber},
			{"ssn", p.SocialSecurityNumber},
			{"crn", p.CompanyRegistrationNumber},
			{"company_name", p.CompanyName},
			{"birth_date", p.BirthDate},
		}},
	}
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
