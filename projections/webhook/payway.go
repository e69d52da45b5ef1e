package webhook

import (
	"context"
	"time"
	_ "time/tzdata" // Payway's times are Swedish, whatever the machine has installed

	"konto/events"
)

// What Payway calls the events.
const (
	paywayChanged   = "account_changed"
	paywayRequested = "account_requested_email_change"
	paywayErased    = "account_erased" // konto's own: Payway's pages have no word for it
	paywayTest      = "test"           // konto's own
)

// paywayName is Payway's word for an event. Whatever else happened to an
// account, it changed.
func paywayName(e *events.Event) string {
	switch e.Type {
	case events.TypeAccountErased:
		return paywayErased
	case events.TypeEmailChangeRequested:
		return paywayRequested
	}
	return paywayChanged
}

// paywayEvent is Payway's webhook shape. Entities that the event is not about
// are empty objects.
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

// paywayRequest would be the address to confirm a change at, but whoever has it
// can confirm: a third party never gets it, nor any code.
type paywayRequest struct {
	EmailChangeURL string `json:"email_change_url"`
}

// paywayID is all that is left of an erased account.
type paywayID struct {
	ID string `json:"id"`
}

func newPaywayEvent(name string, at time.Time) *paywayEvent {
	return &paywayEvent{
		Event: name, Timestamp: at.UTC().Format("2006-01-02T15:04:05.000Z"),
		Payload: paywayPayload{Account: struct{}{}, EventData: struct{}{}},
	}
}

// payway tells of an event in the webhook shape, with the account as it was then.
func (s *Sender) payway(ctx context.Context, e *events.Event) (message, error) {
	a, err := s.accountAt(ctx, e)
	if err != nil {
		return message{}, err
	}
	told := newPaywayEvent(paywayName(e), e.Time)
	told.Payload.Account = newPaywayAccount(&a, e.Time)
	switch told.Event {
	case paywayErased:
		told.Payload.Account = paywayID{a.PaywayID}
	case paywayRequested:
		told.Payload.EventData = paywayRequest{}
	}
	return jsonMessage(told)
}

// accountAt is the account as the event left it, or for an erasure what has to be
// told of it: its Payway id, from the notice or, while the account's key is still
// there, as the erasure found it.
func (s *Sender) accountAt(ctx context.Context, e *events.Event) (events.Account, error) {
	category, id, err := e.Stream.Split()
	if err != nil || category != events.CategoryAccount {
		return events.Account{}, errWordless
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

// swedish is where Payway's times with an offset are.
var swedish = func() *time.Location {
	where, err := time.LoadLocation("Europe/Stockholm")
	if err != nil {
		panic(err) // it is compiled in
	}
	return where
}()

// paywayTime is a time with its offset, such as 2021-03-22T15:01:07+01:00.
func paywayTime(at time.Time) string { return at.In(swedish).Format("2006-01-02T15:04:05-07:00") }
