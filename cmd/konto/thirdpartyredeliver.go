package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/control"
	"konto/cmd/konto/datafolder"
	"konto/cmd/konto/server"
	"konto/events"
	"konto/projections/deliveries"
	"konto/projections/webhook"
)

type thirdPartyRedeliver struct {
	Ref   string `arg:"" name:"name" help:"The third party: its name or its id."`
	Event string `arg:"" name:"event-id" help:"The event's id, as in konto third-party deliveries."`
	Older bool   `name:"older" help:"Send it although the third party accepted a newer event of the account. It may overwrite the newer data with this event's."`
	server.SenderOptions
}

func (c *thirdPartyRedeliver) Help() string {
	return `Sends one event again, at once, such as one that failed. The webhook-id is the event's id, so a third
party can recognise an event that it has. An event that still waits for its delivery is refused,
because an account's events are delivered in order. Without --older, an event is also refused if the
third party accepted a newer one of the account: the formats payway, payway-ssi and risc do not say
which of two events is newer. A third party that is not active receives only konto third-party test,
which holds no personal data. If a server runs, the server sends the event, with its own flags. If
none runs, risc needs the server's --public-url.

Examples:

    konto third-party redeliver crm 01HXA3B4C5D6E7F8G9H0J1K2M3
    konto third-party redeliver crm 01HXA3B4C5D6E7F8G9H0J1K2M3 --older`
}

func (c *thirdPartyRedeliver) Run(ctx context.Context, on *opened, out *control.Output) error {
	party, err := on.thirdParty(ctx, c.Ref)
	if err != nil {
		return err
	}
	id, err := ulid.ParseStrict(c.Event)
	if err != nil {
		return fmt.Errorf("%q is not an event's id", c.Event)
	}
	if party.State != events.ThirdPartyActive {
		return fmt.Errorf("%s is %s, and receives nothing until konto third-party resume", party.Name, party.State)
	}
	position, err := on.positionOf(ctx, id)
	if err != nil {
		return err
	}
	if err := c.CheckIssuer(on.server, party); err != nil {
		return err
	}
	sent, err := on.server.DeliveriesOr(on.Folder, c.SenderOptions)
	if err != nil {
		return err
	}
	if !c.Older {
		if err := on.checkNewest(ctx, party, position); err != nil {
			return err
		}
	}
	answer, err := sent.Redeliver(ctx, party, position)
	switch {
	case errors.Is(err, deliveries.ErrNoEvent):
		return fmt.Errorf("event %s is not one that %s receives", id, party.Name)
	case errors.Is(err, deliveries.ErrPending):
		return fmt.Errorf("event %s still waits for its delivery to %s", id, party.Name)
	case err != nil:
		return err
	}
	return printAnswer(out, id.String(), answer)
}

// positionOf finds an event by its id, in the delivery log or by reading the whole log.
func (on *opened) positionOf(ctx context.Context, id ulid.ULID) (uint64, error) {
	attempts, err := on.DeliveryStore.Attempts(ctx, deliveries.Filter{Event: id, Limit: 1})
	if err != nil {
		return 0, err
	}
	if len(attempts) > 0 {
		return attempts[0].Position, nil
	}
	for after := uint64(0); ; {
		page, err := on.Log.ReadAll(ctx, after, datafolder.PageSize)
		if err != nil {
			return 0, err
		}
		if len(page) == 0 {
			return 0, fmt.Errorf("there is no event %s", id)
		}
		for _, r := range page {
			if r.ID == id {
				return r.Position, nil
			}
			after = r.Position
		}
	}
}

type thirdPartyTest struct {
	Ref string `arg:"" name:"name" help:"The third party: its name or its id."`
	server.SenderOptions
}

func (c *thirdPartyTest) Help() string {
	return `Sends an event that means nothing and holds no personal data, in the third party's format and signed
like all events, and prints the answer. The third party may be paused or disabled. The exit status is
1 if the answer is not a 2xx. If a server runs, the server sends the event, with its own flags. If
none runs, risc needs the server's --public-url.

Examples:

    konto third-party test crm
    konto third-party test crm --third-party-allow 127.0.0.0/8`
}

func (c *thirdPartyTest) Run(ctx context.Context, on *opened, out *control.Output) error {
	party, err := on.thirdParty(ctx, c.Ref)
	if err != nil {
		return err
	}
	if err := c.CheckIssuer(on.server, party); err != nil {
		return err
	}
	sender, err := on.server.SenderOr(on.Folder, c.SenderOptions)
	if err != nil {
		return err
	}
	return printAnswer(out, "", sender.Test(ctx, party))
}

var errNotDelivered = errors.New("the event was not delivered")

// printAnswer prints what a third party answered. It returns an error unless the event was
// delivered.
func printAnswer(out *control.Output, event string, a webhook.Answer) error {
	delivered := a.Verdict == webhook.Delivered
	err := out.Object(struct {
		Event      string  `json:"event,omitzero"`
		Delivered  bool    `json:"delivered"`
		HTTPStatus int     `json:"httpStatus,omitzero"`
		LatencyMS  float64 `json:"latencyMs"`
		Answer     string  `json:"answer,omitzero"`
		Problem    string  `json:"problem,omitzero"`
	}{event, delivered, a.Status, inMilliseconds(a.Latency), printable(string(a.Excerpt)), a.Problem})
	if err == nil && !delivered {
		err = errNotDelivered
	}
	return err
}

// checkNewest refuses an event if the third party accepted a newer one of its account. If the
// delivery store does not know, for example after its file was lost, every event that was read
// counts as accepted. Events that the third party did not subscribe to are not refused here.
func (on *opened) checkNewest(ctx context.Context, party events.ThirdParty, position uint64) error {
	event, err := on.recordAt(ctx, position)
	if err != nil {
		return err
	}
	category, account, err := event.Stream.Split()
	if err != nil || category != events.CategoryAccount || !party.Wants(event.Type) {
		return nil
	}
	delivery, known, err := on.DeliveryStore.Delivery(ctx, party.ID, account)
	if err != nil {
		return err
	}
	newest := delivery.Delivered
	if !known {
		reading, err := on.reading(ctx, party)
		if err != nil {
			return err
		}
		last, err := on.lastWanted(ctx, party, account, reading)
		if err != nil {
			return err
		}
		newest = last.Position
	}
	if newest > position {
		return fmt.Errorf("%s has accepted a newer event of the account, at position %d; --older sends this one all the same", party.Name, newest)
	}
	return nil
}
