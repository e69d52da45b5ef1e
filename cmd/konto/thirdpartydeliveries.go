package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/control"
	"konto/projections/deliveries"
)

type thirdPartyDeliveries struct {
	Ref     string `arg:"" optional:"" name:"name" help:"The third party: its name or its id; all of them unless given."`
	Account string `name:"account" placeholder:"REF" help:"Only those about this account: any of its ids, or its email address."`
	Status  string `name:"status" enum:"delivered,retrying,failed,aborted,skipped," default:"" placeholder:"STATUS" help:"Only those that came to this: delivered, retrying, failed, aborted or skipped."`
	Limit   int    `name:"limit" default:"100" placeholder:"N" help:"The newest so many, 100 unless given."`
}

func (c *thirdPartyDeliveries) Help() string {
	return `The delivery log: every attempt, oldest first, with the first bytes of the answer. It goes back 30 days, and 100,000
attempts for each third party. What an attempt came to:

    delivered   the third party took it
    retrying    it did not, and the event is sent again
    failed      it did not, and is not asked again until konto third-party redeliver
    aborted     it asked for the event not to be sent again
    skipped     there was nothing to send, as of an account that was erased since

Examples:

    konto third-party deliveries
    konto third-party deliveries crm --account anna@example.com
    konto third-party deliveries crm --status failed --limit 1000 --json | jq -r .event`
}

// Validate is called by kong.
func (c *thirdPartyDeliveries) Validate() error {
	if c.Limit < 1 {
		return errors.New("--limit is at least 1")
	}
	return nil
}

// attempt is a row of the delivery log for the operator.
type attempt struct {
	ThirdParty string    `json:"thirdParty"` // its name; its id once it was removed
	Account    string    `json:"account"`
	Event      string    `json:"event"`
	Type       string    `json:"type"`
	Position   uint64    `json:"position"`
	Attempt    int       `json:"attempt"` // of this event, from 1
	At         time.Time `json:"at"`
	Status     string    `json:"status"`
	HTTPStatus int       `json:"httpStatus,omitzero"`
	LatencyMS  float64   `json:"latencyMs"`
	Answer     string    `json:"answer,omitzero"`
}

func (c *thirdPartyDeliveries) Run(ctx context.Context, on *opened, out *control.Output) error {
	filter := deliveries.Filter{Outcome: c.Status, Limit: c.Limit}
	if c.Ref != "" {
		party, err := on.thirdParty(ctx, c.Ref)
		if err != nil {
			return err
		}
		filter.Party = party.ID
	}
	if c.Account != "" {
		account, err := on.FindAccount(ctx, c.Account)
		if err != nil {
			return err
		}
		filter.Account = account
	}
	names, err := on.thirdPartyNames(ctx)
	if err != nil {
		return err
	}
	found, err := on.DeliveryStore.Attempts(ctx, filter)
	if err != nil {
		return err
	}
	for _, a := range found {
		row := attempt{
			ThirdParty: names[a.Party], Account: a.Account.String(), Event: a.Event.String(), Type: a.Type,
			Position: a.Position, Attempt: a.Number, At: a.At, Status: a.Outcome, HTTPStatus: a.Status,
			LatencyMS: inMilliseconds(a.Latency), Answer: printable(a.Excerpt),
		}
		if row.ThirdParty == "" {
			row.ThirdParty = a.Party.String()
		}
		err := out.Row(row, "%s  %-9s  %3d  %7.1f ms  try %-2d  %-20s  %s  %s  %s  %q", row.At.Format(time.RFC3339),
			row.Status, row.HTTPStatus, row.LatencyMS, row.Attempt, row.ThirdParty, row.Account, row.Event, row.Type, row.Answer)
		if err != nil {
			return err
		}
	}
	return nil
}

// thirdPartyNames gives the names of those that were not removed.
func (on *opened) thirdPartyNames(ctx context.Context) (map[ulid.ULID]string, error) {
	if err := on.CatchUp(ctx); err != nil {
		return nil, err
	}
	all, err := on.Model.ThirdParties(ctx)
	names := make(map[ulid.ULID]string, len(all))
	for _, p := range all {
		names[p.ID] = p.Name
	}
	return names, err
}

// printable makes an answer valid UTF-8 for JSON. An answer may be anything, and may be cut
// inside a character.
func printable(answer string) string { return strings.ToValidUTF8(answer, "\uFFFD") }

func inMilliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
