package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/admin"
	"konto/cmd/konto/control"
	"konto/cmd/konto/datafolder"
	"konto/cmd/konto/server"
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
	id, err := ulid.ParseStrict(c.Event)
	if err != nil {
		return fmt.Errorf("%q is not an event's id", c.Event)
	}
	meta, err := datafolder.Operator()
	if err != nil {
		return err
	}
	sent, err := on.Redeliver(ctx, meta, c.Ref, id, c.Older, c.SenderOptions)
	return printSent(out, sent, err)
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
	meta, err := datafolder.Operator()
	if err != nil {
		return err
	}
	sent, err := on.TestThirdParty(ctx, meta, c.Ref, c.SenderOptions)
	return printSent(out, sent, err)
}

var errNotDelivered = errors.New("the event was not delivered")

// printSent prints what a third party answered. It returns an error unless the event was
// delivered.
func printSent(out *control.Output, sent admin.Sent, err error) error {
	if err == nil {
		err = out.Object(sent)
	}
	if err == nil && !sent.Delivered {
		err = errNotDelivered
	}
	return err
}
