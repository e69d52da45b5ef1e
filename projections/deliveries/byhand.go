package deliveries

import (
	"context"
	"errors"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/projections"
	"konto/projections/webhook"
)

var (
	// ErrNoEvent tells that there is no event of an account at a position, or none
	// that the third party wants.
	ErrNoEvent = errors.New("no event for this third party")

	// ErrNotSettled tells that an event is still to be delivered in its turn. To
	// send it again now could put it before an older one.
	ErrNotSettled = errors.New("event is still to be delivered in its turn")
)

// Rewind makes a third party be told again of everything after a position, in
// order. Attempts under way are waited for, bounded.
func (d *Deliveries) Rewind(ctx context.Context, party ulid.ULID, position uint64) error {
	d.mu.Lock()
	k := d.keepers[party]
	if k == nil {
		defer d.mu.Unlock() // no run may begin meanwhile
		return d.cfg.Ledger.Rewind(ctx, party, position)
	}
	d.mu.Unlock()
	done := make(chan error, 1)
	k.change(func() {
		if k.ended {
			done <- projections.ErrStopped
			return
		}
		k.rewinds = append(k.rewinds, rewind{position, done})
	})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Redeliver sends the event at a position again, once, at once, and records the
// attempt. Run need not run. Errors: ErrNoEvent, ErrNotSettled.
func (d *Deliveries) Redeliver(ctx context.Context, party events.ThirdParty, position uint64) (webhook.Answer, error) {
	e, account, err := d.eventAt(ctx, party, position)
	if err != nil {
		return webhook.Answer{}, err
	}
	if settled, err := d.settled(ctx, party.ID, account, e); err != nil || !settled {
		return webhook.Answer{}, errors.Join(err, ErrNotSettled)
	}
	number := 1
	last, err := d.cfg.Ledger.Attempts(ctx, Filter{Party: party.ID, Event: e.ID, Limit: 1})
	if err != nil {
		return webhook.Answer{}, err
	}
	if len(last) > 0 {
		number += last[0].Number
	}
	t := d.sendOnce(ctx, party, e)
	return t.trial.answer, d.cfg.Ledger.Settle(context.WithoutCancel(ctx), Settlement{Party: party.ID, Attempt: t.entry(account, number)})
}

// eventAt finds the event that a third party may be told of.
func (d *Deliveries) eventAt(ctx context.Context, party events.ThirdParty, position uint64) (e events.Event, account ulid.ULID, err error) {
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
	if err != nil || category != events.CategoryAccount || !tells(&party, &e) {
		return e, account, ErrNoEvent
	}
	return e, account, nil
}

// settled tells whether an event had its turn.
func (d *Deliveries) settled(ctx context.Context, party, account ulid.ULID, e events.Event) (bool, error) {
	lane, ok, err := d.cfg.Ledger.LaneOf(ctx, party, account)
	if err != nil {
		return false, err
	}
	if ok && (lane.waits() || lane.Version >= e.Version) {
		return lane.Version >= e.Version, nil
	}
	position, _, err := d.cfg.Ledger.Position(ctx, party)
	return position >= e.Position, err
}

// sendOnce makes one attempt outside of any lane.
func (d *Deliveries) sendOnce(ctx context.Context, party events.ThirdParty, e events.Event) *turn {
	t := &turn{party: party, trial: trial{event: e, at: time.Now()}}
	t.trial.answer = d.send(ctx, d.cfg.Log, &party, &e)
	switch t.trial.answer.Verdict {
	case webhook.Delivered:
		t.verdict.outcome = OutcomeDelivered
	case webhook.Aborted:
		t.verdict.outcome = OutcomeAborted
	case webhook.Skipped:
		t.verdict.outcome = OutcomeSkipped
	default:
		t.verdict.outcome = OutcomeFailed
	}
	return t
}
