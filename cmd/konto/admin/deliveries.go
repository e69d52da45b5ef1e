package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/datafolder"
	"konto/cmd/konto/server"
	"konto/commands"
	"konto/events"
	"konto/eventstore"
	"konto/projections/deliveries"
	"konto/projections/webhook"
)

// Attempt is a row of the delivery log for the operator.
type Attempt struct {
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

// AttemptFilter selects attempts; zero members select all.
type AttemptFilter struct {
	ThirdParty string // its name or its id
	Account    ulid.ULID
	Status     string
}

// ListAttempts returns a page of the delivery log, the newest attempt first. Its cursor is the ID of an
// attempt: the page has older ones.
func (k *Konto) ListAttempts(ctx context.Context, f AttemptFilter, after string, limit int) (Page[Attempt], error) {
	page := Page[Attempt]{Items: []Attempt{}}
	filter := deliveries.Filter{Account: f.Account, Outcome: f.Status, Limit: limit + 1}
	if after != "" {
		var err error
		if filter.Before, err = strconv.ParseInt(after, 10, 64); err != nil || filter.Before <= 0 {
			return page, invalid("after is not the cursor of a page")
		}
	}
	if f.ThirdParty != "" {
		party, err := k.findThirdParty(ctx, f.ThirdParty)
		if err != nil {
			return page, err
		}
		filter.Party = party.ID
	}
	names, err := k.thirdPartyNames(ctx)
	if err != nil {
		return page, err
	}
	found, err := k.DeliveryStore.Attempts(ctx, filter)
	slices.Reverse(found)
	if len(found) > limit {
		found = found[:limit]
		page.Next = strconv.FormatInt(found[limit-1].ID, 10)
	}
	for _, a := range found {
		page.Items = append(page.Items, Attempt{
			ThirdParty: cmp.Or(names[a.Party], a.Party.String()), Account: a.Account.String(), Event: a.Event.String(), Type: a.Type,
			Position: a.Position, Attempt: a.Number, At: a.At, Status: a.Outcome, HTTPStatus: a.Status,
			LatencyMS: inMilliseconds(a.Latency), Answer: printable(a.Excerpt),
		})
	}
	return page, err
}

// thirdPartyNames gives the names of those that were not removed.
func (k *Konto) thirdPartyNames(ctx context.Context) (map[ulid.ULID]string, error) {
	if err := k.CatchUp(ctx); err != nil {
		return nil, err
	}
	all, err := k.Model.ThirdParties(ctx)
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

// Standing says whether a third party knows the last event of an account.
type Standing struct {
	ID     string `json:"id"`
	InSync bool   `json:"inSync"`
	// Last is the account's last event that the third party wants.
	Last *Delivered `json:"last,omitzero"`
	// Delivered is the newest event of the account that the third party accepted, as far as
	// the delivery store knows.
	Delivered *Delivered `json:"delivered,omitzero"`
	// Attempts counts the failed attempts to deliver the next event.
	Attempts int       `json:"attempts,omitzero"`
	NextTry  time.Time `json:"nextTry,omitzero"` // not before a third party that is paused or disabled is resumed
}

// Delivered is an event that a third party receives.
type Delivered struct {
	Event    string    `json:"event"`
	Type     string    `json:"type"`
	Version  uint64    `json:"version"`
	Position uint64    `json:"position"`
	Time     time.Time `json:"time"` // when it happened, or when it was delivered
}

// Standing compares what a third party accepted with what happened to an account. Errors:
// ErrMissing, commands.ErrNotFound.
func (k *Konto) Standing(ctx context.Context, ref string, id ulid.ULID) (Standing, error) {
	p, err := k.findThirdParty(ctx, ref)
	if err != nil {
		return Standing{}, err
	}
	delivery, known, err := k.DeliveryStore.Delivery(ctx, p.ID, id)
	if err != nil {
		return Standing{}, err
	}
	reading, err := k.reading(ctx, p)
	if err != nil {
		return Standing{}, err
	}
	last, err := k.lastWanted(ctx, p, id, math.MaxUint64)
	if err != nil {
		return Standing{}, err
	}
	delivered, err := k.recordAt(ctx, delivery.Delivered)
	if err != nil {
		return Standing{}, err
	}
	if delivered.Stream != events.AccountStream(id) { // the log was replaced by another one
		delivered = eventstore.Record{}
	}
	if last.Position == 0 && delivered.Position == 0 {
		head, err := k.Store.StreamHead(ctx, events.AccountStream(id))
		if err != nil {
			return Standing{}, err
		}
		if head.Version == 0 {
			return Standing{}, commands.ErrNotFound
		}
	}
	s := Standing{
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

// lastWanted returns an account's last event, up to a position, that a third party subscribed
// to. It is zero if there is none. It reads records, because the account's key may be destroyed.
func (k *Konto) lastWanted(ctx context.Context, p events.ThirdParty, account ulid.ULID, upTo uint64) (last eventstore.Record, err error) {
	for r, err := range eventstore.Records(ctx, k.Log, events.AccountStream(account), 0, math.MaxUint64) {
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
func (k *Konto) recordAt(ctx context.Context, position uint64) (eventstore.Record, error) {
	if position == 0 {
		return eventstore.Record{}, nil
	}
	found, err := k.Log.ReadAll(ctx, position-1, 1)
	if err != nil || len(found) == 0 || found[0].Position != position {
		return eventstore.Record{}, err
	}
	return found[0], nil
}

func showDelivered(r eventstore.Record, at time.Time) *Delivered {
	if r.Position == 0 {
		return nil
	}
	return &Delivered{Event: r.ID.String(), Type: r.Type, Version: r.Version, Position: r.Position, Time: at}
}

// Sent is what a third party answered.
type Sent struct {
	Event      string  `json:"event,omitzero"`
	Delivered  bool    `json:"delivered"`
	HTTPStatus int     `json:"httpStatus,omitzero"`
	LatencyMS  float64 `json:"latencyMs"`
	Answer     string  `json:"answer,omitzero"`
	Problem    string  `json:"problem,omitzero"`
}

func sent(event string, a webhook.Answer) Sent {
	return Sent{event, a.Verdict == webhook.Delivered, a.Status, inMilliseconds(a.Latency), printable(string(a.Excerpt)), a.Problem}
}

// TestThirdParty sends an event that means nothing. If no server runs, the options are used.
func (k *Konto) TestThirdParty(ctx context.Context, meta events.Metadata, ref string, o server.SenderOptions) (Sent, error) {
	party, err := k.findThirdParty(ctx, ref)
	if err != nil {
		return Sent{}, err
	}
	if err := o.CheckIssuer(k.Server, party); err != nil {
		return Sent{}, err
	}
	sender, err := k.Server.SenderOr(k.Folder, o)
	if err != nil {
		return Sent{}, err
	}
	k.Acted(meta, "third-party test", "third_party", party.ID.String())
	return sent("", sender.Test(ctx, party)), nil
}

// Redeliver sends one event again, at once. older sends it although the third party accepted a newer
// one of the account. If no server runs, the options are used.
func (k *Konto) Redeliver(ctx context.Context, meta events.Metadata, ref string, event ulid.ULID, older bool, o server.SenderOptions) (Sent, error) {
	party, err := k.findThirdParty(ctx, ref)
	if err != nil {
		return Sent{}, err
	}
	if party.State != events.ThirdPartyActive {
		return Sent{}, conflict(fmt.Sprintf("%s is %s, and receives nothing until konto third-party resume", party.Name, party.State))
	}
	position, err := k.positionOf(ctx, event)
	if err != nil {
		return Sent{}, err
	}
	if err := o.CheckIssuer(k.Server, party); err != nil {
		return Sent{}, err
	}
	from, err := k.Server.DeliveriesOr(k.Folder, o)
	if err != nil {
		return Sent{}, err
	}
	if !older {
		if err := k.checkNewest(ctx, party, position); err != nil {
			return Sent{}, err
		}
	}
	k.Acted(meta, "third-party redeliver", "third_party", party.ID.String(), "event", event.String())
	answer, err := from.Redeliver(ctx, party, position)
	switch {
	case errors.Is(err, deliveries.ErrNoEvent):
		return Sent{}, conflict(fmt.Sprintf("event %s is not one that %s receives", event, party.Name))
	case errors.Is(err, deliveries.ErrPending):
		return Sent{}, conflict(fmt.Sprintf("event %s still waits for its delivery to %s", event, party.Name))
	case err != nil:
		return Sent{}, err
	}
	return sent(event.String(), answer), nil
}

// positionOf finds an event by its id, in the delivery log or by reading the whole log.
func (k *Konto) positionOf(ctx context.Context, id ulid.ULID) (uint64, error) {
	attempts, err := k.DeliveryStore.Attempts(ctx, deliveries.Filter{Event: id, Limit: 1})
	if err != nil {
		return 0, err
	}
	if len(attempts) > 0 {
		return attempts[0].Position, nil
	}
	for after := uint64(0); ; {
		page, err := k.Log.ReadAll(ctx, after, datafolder.PageSize)
		if err != nil {
			return 0, err
		}
		if len(page) == 0 {
			return 0, missing(fmt.Sprintf("there is no event %s", id))
		}
		for _, r := range page {
			if r.ID == id {
				return r.Position, nil
			}
			after = r.Position
		}
	}
}

// checkNewest refuses an event if the third party accepted a newer one of its account. If the
// delivery store does not know, for example after its file was lost, every event that was read
// counts as accepted. Events that the third party did not subscribe to are not refused here.
func (k *Konto) checkNewest(ctx context.Context, party events.ThirdParty, position uint64) error {
	event, err := k.recordAt(ctx, position)
	if err != nil {
		return err
	}
	category, account, err := event.Stream.Split()
	if err != nil || category != events.CategoryAccount || !party.Wants(event.Type) {
		return nil
	}
	delivery, known, err := k.DeliveryStore.Delivery(ctx, party.ID, account)
	if err != nil {
		return err
	}
	newest := delivery.Delivered
	if !known {
		reading, err := k.reading(ctx, party)
		if err != nil {
			return err
		}
		last, err := k.lastWanted(ctx, party, account, reading)
		if err != nil {
			return err
		}
		newest = last.Position
	}
	if newest > position {
		return conflict(fmt.Sprintf("%s has accepted a newer event of the account, at position %d; --older sends this one all the same", party.Name, newest))
	}
	return nil
}
