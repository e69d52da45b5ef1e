package commands

import (
	"context"
	"slices"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
)

// round is what a batch of commands on one account comes to: each decided on top
// of the one before, all of them ready for one append.
type round struct {
	stream   events.Stream
	expected uint64
	state    events.Account // after the commands decided so far
	events   []events.Event
	claims   []eventstore.ClaimChange
	verdicts []verdict
}

// verdict is one call's share of a round.
type verdict struct {
	call    *call
	outcome Outcome
	err     error
	after   int // how many of the round's events the outcome's state includes
}

// decideAll decides the calls in order, beginning at state.
func (h *Accounts) decideAll(id ulid.ULID, state events.Account, batch []*call) *round {
	r := &round{stream: events.AccountStream(id), expected: state.Version, state: state}
	for _, c := range batch {
		outcome, err := h.decideNext(r, c)
		r.verdicts = append(r.verdicts, verdict{call: c, outcome: outcome, err: err, after: len(r.events)})
	}
	return r
}

// decideNext adds one call's events to the round, or nothing when it fails.
func (h *Accounts) decideNext(r *round, c *call) (Outcome, error) {
	d, err := decide(r.state, c.command)
	if err != nil {
		return Outcome{}, err
	}
	next := r.state
	var evs []events.Event
	for _, p := range d.payloads {
		e, err := h.record(r.stream, next, c.meta, p)
		if err != nil {
			return Outcome{}, err
		}
		next.Apply(e, p)
		evs = append(evs, e)
	}
	r.claims = append(r.claims, claimChanges(&r.state, &next)...)
	r.events = append(r.events, evs...)
	r.state = next
	return Outcome{Account: next, Changed: len(evs) > 0, Rejected: d.rejected}, nil
}

// record makes a payload the account's next event. Time never runs backwards
// within an account, even if the machine's clock does or nodes disagree.
func (h *Accounts) record(stream events.Stream, state events.Account, meta events.Metadata, p events.Payload) (events.Event, error) {
	at := h.now()
	if at.Before(state.Updated) {
		at = state.Updated
	}
	id, err := h.ids.next(at)
	if err != nil {
		return events.Event{}, err
	}
	return events.New(stream, state.Version+1, id, at, meta, p)
}

// append stores the round's events, if there are any, and returns the last one's position.
func (r *round) append(ctx context.Context, store *eventstore.Store) (last uint64, err error) {
	if len(r.events) == 0 {
		return r.state.Position, nil
	}
	return store.Append(ctx, r.stream, r.expected, r.claims, r.events)
}

// settle answers every call and returns the state after the round. The events
// of one append have consecutive positions, of which last is the last.
func (r *round) settle(last uint64) events.Account {
	position := func(after int) uint64 { return last - uint64(len(r.events)-after) }
	for _, v := range r.verdicts {
		if v.err == nil && v.after > 0 {
			v.outcome.Account.Position = position(v.after)
		}
		v.call.answer(v.outcome, v.err)
	}
	r.state.Position = last
	return r.state
}

// claimChanges is the difference between what two states of an account hold.
// What is given up comes first: the log allows either order, and this one reads
// as what happens.
func claimChanges(before, after *events.Account) []eventstore.ClaimChange {
	held, wanted := before.Claims(), after.Claims()
	var changes []eventstore.ClaimChange
	for _, c := range held {
		if !slices.Contains(wanted, c) {
			changes = append(changes, eventstore.ClaimChange{Claim: c, Release: true})
		}
	}
	for _, c := range wanted {
		if !slices.Contains(held, c) {
			changes = append(changes, eventstore.ClaimChange{Claim: c})
		}
	}
	return changes
}

// claimField is the field whose value a kind of claim stands for.
func claimField(kind string) string {
	switch kind {
	case events.ClaimEmail:
		return fieldEmail
	case events.ClaimSocialSecurityNumber:
		return fieldSocialSecurityNumber
	case events.ClaimPaywayID:
		return fieldPaywayID
	}
	return "/" + kind
}
