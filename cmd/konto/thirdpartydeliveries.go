package main

import (
	"context"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/control"
	"konto/commands"
	"konto/events"
	"konto/eventstore"
	"konto/projections/deliveries"
)

type thirdPartyDeliveries struct {
	Ref     string `arg:"" optional:"" name:"name" help:"The third party: its name or its id; all of them unless given."`
	Account string `name:"account" placeholder:"REF" help:"Only those about this account: any of its ids, or its email address."`
	Status  string `name:"status" enum:"delivered,retrying,failed,aborted,skipped," default:"" placeholder:"STATUS" help:"Only those with this result: delivered, retrying, failed, aborted or skipped."`
	Limit   int    `name:"limit" default:"100" placeholder:"N" help:"How many, from the newest."`
}

func (c *thirdPartyDeliveries) Help() string {
	return `The delivery log: every attempt, oldest first, with the first bytes of the answer. It goes back 30
days, and 100,000 attempts for each third party. The results of an attempt:

    delivered   the third party accepted the event
    retrying    it did not, and the event is sent again
    failed      it did not, and the event is sent again only by konto third-party redeliver
    aborted     it asked not to be sent the event again
    skipped     there was nothing to send, for example because the account was erased

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

// printable makes an answer valid UTF-8 for JSON. An answer may hold any bytes, and may be cut
// inside a character.
func printable(answer string) string { return strings.ToValidUTF8(answer, "\uFFFD") }

func inMilliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// standing says whether a third party knows the last event of an account.
type standing struct {
	ID     string `json:"id"`
	InSync bool   `json:"inSync"`
	// Last is the account's last event that the third party wants.
	Last *deliveredShown `json:"last,omitzero"`
	// Delivered is the newest event of the account that the third party accepted, as far as
	// the delivery store knows.
	Delivered *deliveredShown `json:"delivered,omitzero"`
	// Attempts counts the failed attempts to deliver the next event.
	Attempts int       `json:"attempts,omitzero"`
	NextTry  time.Time `json:"nextTry,omitzero"` // not before a third party that is paused or disabled is resumed
}

// deliveredShown is an event that a third party receives.
type deliveredShown struct {
	Event    string    `json:"event"`
	Type     string    `json:"type"`
	Version  uint64    `json:"version"`
	Position uint64    `json:"position"`
	Time     time.Time `json:"time"` // when it happened, or when it was delivered
}

// standing compares what a third party accepted with what happened to an account.
func (on *opened) standing(ctx context.Context, p events.ThirdParty, ref string) (standing, error) {
	id, err := on.FindAccount(ctx, ref)
	if err != nil {
		return standing{}, err
	}
	delivery, known, err := on.DeliveryStore.Delivery(ctx, p.ID, id)
	if err != nil {
		return standing{}, err
	}
	reading, err := on.reading(ctx, p)
	if err != nil {
		return standing{}, err
	}
	last, err := on.lastWanted(ctx, p, id, math.MaxUint64)
	if err != nil {
		return standing{}, err
	}
	delivered, err := on.recordAt(ctx, delivery.Delivered)
	if err != nil {
		return standing{}, err
	}
	if delivered.Stream != events.AccountStream(id) { // the log was replaced by another one
		delivered = eventstore.Record{}
	}
	if last.Position == 0 && delivered.Position == 0 {
		head, err := on.Store.StreamHead(ctx, events.AccountStream(id))
		if err != nil {
			return standing{}, err
		}
		if head.Version == 0 {
			return standing{}, on.NotFound(commands.ErrNotFound, ref)
		}
	}
	s := standing{
		ID: id.String(), Attempts: delivery.Attempts, NextTry: delivery.Next,
		Last: showDelivered(last, last.Time), Delivered: showDelivered(delivered, delivery.DeliveredAt),
	}
	if known {
		s.InSync = delivery.Delivered >= last.Position
	} else {
		// The checkpoint covers what was before the third party was added, and what was
		// settled according to a delivery store that was lost.
		s.InSync = last.Position <= min(reading, p.Checkpoint)
	}
	return s, nil
}

// reading returns the position up to which a third party's deliveries have read the log.
func (on *opened) reading(ctx context.Context, p events.ThirdParty) (uint64, error) {
	position, known, err := on.DeliveryStore.Position(ctx, p.ID)
	if err == nil && !known {
		position = p.Checkpoint
	}
	return position, err
}

// lastWanted returns an account's last event, up to a position, that a third party subscribed
// to. It is zero if there is none. It reads records, because the account's key may be destroyed.
func (on *opened) lastWanted(ctx context.Context, p events.ThirdParty, account ulid.ULID, upTo uint64) (last eventstore.Record, err error) {
	for r, err := range eventstore.Records(ctx, on.Log, events.AccountStream(account), 0, math.MaxUint64) {
		if err != nil {
			return last, err
		}
		if r.Position <= upTo && p.Wants(r.Type) {
			last = r
		}
	}
	return last, nil
}

// recordAt returns the record at a position, the zero one if the log has none there.
func (on *opened) recordAt(ctx context.Context, position uint64) (eventstore.Record, error) {
	if position == 0 {
		return eventstore.Record{}, nil
	}
	found, err := on.Log.ReadAll(ctx, position-1, 1)
	if err != nil || len(found) == 0 || found[0].Position != position {
		return eventstore.Record{}, err
	}
	return found[0], nil
}

func showDelivered(r eventstore.Record, at time.Time) *deliveredShown {
	if r.Position == 0 {
		return nil
	}
	return &deliveredShown{Event: r.ID.String(), Type: r.Type, Version: r.Version, Position: r.Position, Time: at}
}
