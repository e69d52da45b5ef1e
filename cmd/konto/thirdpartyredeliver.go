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
	Older bool   `name:"older" help:"Send it although the third party has taken a newer event of the account, over which it may write what this one says."`
	server.SenderOptions
}

func (c *thirdPartyRedeliver) Help() string {
	return `Sends one event once more, at once, such as one that failed for good. Its webhook-id is that of the event, so a third party
that has it already can tell. What is still to be sent in its turn is refused: an account's events go out in order. So is,
without --older, an event after which the third party has taken a newer one of the account: in the formats payway, payway-ssi
and risc nothing tells it which of the two is newer. A third party that is not active is sent nothing but konto third-party
test, which holds no personal data. The server sends it when it runs, as its own flags say; without one, risc needs its --public-url.

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
		return fmt.Errorf("%s is %s, and is sent nothing until konto third-party resume", party.Name, party.State)
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
		return fmt.Errorf("%s is not told of event %s", party.Name, id)
	case errors.Is(err, deliveries.ErrPending):
		return fmt.Errorf("event %s is still to be sent to %s in its turn", id, party.Name)
	case err != nil:
		return err
	}
	return printAnswer(out, id.String(), answer)
}

// positionOf finds an event by its id: in the delivery log, else by reading the whole log.
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
	return `Sends an event that means nothing and holds no personal data, in the third party's format and signed like all, and prints
what was answered; also to one that is paused or disabled. It ends with 1 unless that is a 2xx. The server sends it when it
runs, as its own flags say; without one, risc needs its --public-url.

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

var errNotDelivered = errors.New("it was not delivered")

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
