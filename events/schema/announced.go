package schema

import (
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

// announced lists every event that is published, with an example and its meaning, in the order in
// which they can happen to an account.
var announced = []struct {
	example events.Payload
	about   string
}{
	{events.AccountOpened{
		Email: "åsa@example.se", PaywayID: "5f1d7a3c9b8e4d2a6c0f1e3b",
		Profile: events.ProfileUpdated{
			FirstName: events.Set("Åsa"), LastName: events.Set("Öberg"), AccountType: events.Set(events.TypePrivate),
			CountryCode: events.Set("SE"), LanguageCode: events.Set("sv"), CurrencyCode: events.Set("SEK"),
		},
	}, "An account was opened. It is the account's first event."},
	{events.ProfileUpdated{
		FirstName: events.Set("Åsa"), Alias: events.Clear[string](),
		Address: events.AddressUpdated{PostalCode: events.Set("702 10"), City: events.Set("Örebro")},
	}, "Fields of the account's profile changed. Only changed fields are present; null means that the field was removed."},
	{events.EmailChanged{
		PreviousEmail: "åsa@example.se", NewEmail: "asa.oberg@example.com", How: events.EmailDirect,
	}, "The account has a new email address."},
	{events.EmailChangeRequested{
		NewEmail: "asa.oberg@example.com", Request: exampleRequest, ExpiresAt: exampleTime.Add(15 * time.Minute),
	}, "The user requested another email address. It becomes the account's address when it is confirmed; then EmailChanged follows."},
	{events.EmailChangeAttemptFailed{
		Request: exampleRequest,
	}, "A wrong code was tried to confirm a new email address."},
	{events.EmailChangeCancelled{
		NewEmail: "asa.oberg@example.com",
	}, "The request for another email address was cancelled."},
	{events.PasswordChanged{}, "The account has a new password. The event has no data."},
	{events.FactsRecorded{
		ActiveDomains: new(3), SeNuDomains: new(2), PendingOrder: events.Clear[string](), Verified: new(true), BankIDName: events.Set("ÅSA ÖBERG"),
	}, "Another system has new facts about the account. Only new facts are present; null means that a fact no longer holds."},
	{events.IdentityLinked{}, "A user of an identity provider was linked to the account. The event has no data."},
	{events.IdentityUnlinked{}, "A user of an identity provider is no longer linked to the account. The event has no data."},
	{events.AccountErased{}, "The account was erased. It is the account's last event. Consumers must delete what they store about the account."},
}

var (
	exampleAccount = ulid.MustParse("01HXA3B4C5D6E7F8G9H0J1K2M3")
	exampleRequest = ulid.MustParse("01KJMN8RV0Z5X7Q2W9E4T6Y8AB")
	exampleEvent   = ulid.MustParse("01KJMN8RVT3N5Q7S9V1X3Z5B7D")
	exampleTime    = time.Date(2026, 3, 1, 12, 0, 0, 250_000_000, time.UTC)
)

// publish returns an example as consumers get it.
func publish(example events.Payload) (name string, m events.Message, err error) {
	e, err := events.New(events.AccountStream(exampleAccount), 7, exampleEvent, exampleTime, events.Metadata{}, example)
	if err != nil {
		return "", m, err
	}
	e.Position = 4711
	m, _, err = events.Publish(e)
	return e.Type, m, err
}
