package deliveries

import (
	"context"
	"errors"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/projections/webhook"
)

var (
	// ErrNoEvent means that there is no event of an account at a position, or none that
	// the third party wants.
	ErrNoEvent = errors.New("no event for this third party")

	// ErrPending means that an event is still to be delivered in its turn. To send it
	// now could put it before an older one.
	ErrPending = errors.New("event is still to be delivered in its turn")
)

// Redeliver sends the event at a position again, once, now, and records the attempt. Run
// need not run. Errors: ErrNoEvent, ErrPending.
func (d *Deliveries) Redeliver(ctx context.Context, party events.ThirdParty, position uint64) (webhook.Answer, error) {
	e, account, err := d.eventAt(ctx, &party, position)
	if err != nil {
		return webhook.Answer{}, err
	}
	if done, err := d.isDone(ctx, party.ID, account, &e); err != nil || !done {
		return webhook.Answer{}, errors.Join(err, ErrPending)
	}
	number := 1
	last, err := d.cfg.DB.Attempts(ctx, Filter{Party: party.ID, Event: e.ID, Limit: 1})
	if err != nil {
		return webhook.Answer{}, err
	}
	if len(last) > 0 {
		number += last[0].Number
	}
	at := time.Now()
	answer := d.send(ctx, d.cfg.Log, &party, &e)
	a := newAttempt(party.ID, account, &e, number, at, answer)
	switch answer.Verdict {
	case webhook.Delivered:
		a.Outcome = OutcomeDelivered
	case webhook.Aborted:
		a.Outcome = OutcomeAborted
	case webhook.Skipped:
		a.Outcome = OutcomeSkipped
	default:
		a.Outcome = OutcomeFailed
	}
	return answer, d.cfg.DB.Save(ctx, party.ID, nil, a)
}

// eventAt finds the event at a position that the third party may be sent.
func (d *Deliveries) eventAt(ctx context.Context, party *events.ThirdParty, position uint64) (e events.Event, account ulid.ULID, err error) {
	if position == 0 {
		return e, account, ErrNoEvent
	}
	found, err := d.cfg.Store.ReadAll(ctx, position-1, 1)
	if err != nil {
		return e, account, err
	}
	if len(found) == 0 || found[0].Position != position {
		return e, account, ErrNoEvent
	}
	e = found[0]
	category, account, err := e.Stream.Split()
	if err != nil || category != events.CategoryAccount || !wants(party, &e) {
		return e, account, ErrNoEvent
	}
	return e, account, nil
}

// isDone reports whether an event had its turn.
func (d *Deliveries) isDone(ctx context.Context, party, account ulid.ULID, e *events.Event) (bool, error) {
	row, ok, err := d.cfg.DB.Delivery(ctx, party, account)
	if err != nil {
		return false, err
	}
	if ok && (row.waits() || row.Version >= e.Version) {
		return row.Version >= e.Version, nil
	}
	position, _, err := d.cfg.DB.Position(ctx, party)
	return position >= e.Position, err
}
