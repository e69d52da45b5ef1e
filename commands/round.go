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
	state    *events.Account // after the commands decided so far
	events   []events.Event
	claims   []eventstore.ClaimChange
	receipts []eventstore.NamedReceipt
	verdicts []verdict
}

// verdict is one call's share of a round.
type verdict struct {
	call    *call
	outcome Outcome
	err     error
	after   int // how many of the round's events the outcome's state includes; 0 for one of before
}

// decideAll decides the calls in order, beginning at state; those that were
// carried out before have their verdicts in known.
func (h *Accounts) decideAll(id ulid.ULID, state *events.Account, batch []*call, known map[*call]verdict) *round {
	r := &round{stream: events.AccountStream(id), expected: state.Version, state: state}
	for _, c := range batch {
		v, ok := known[c]
		if !ok {
			v, ok = r.repeats(c)
		}
		if !ok {
			outcome, err := h.decideNext(r, c)
			v = verdict{call: c, outcome: outcome, err: err, after: len(r.events)}
		}
		r.verdicts = append(r.verdicts, v)
	}
	return r
}

// decideNext adds one call's events to the round: none when it fails, unless
// the failure itself is to be remembered.
func (h *Accounts) decideNext(r *round, c *call) (Outcome, error) {
	d, err := decide(*r.state, c.command)
	if err != nil {
		return Outcome{}, err
	}
	next := r.state
	if len(d.payloads) > 0 {
		changed := *r.state
		next = &changed
	}
	evs := r.events
	for _, p := range d.payloads {
		e, err := h.record(r.stream, next, c.meta, p)
		if err != nil {
			return Outcome{}, err
		}
		next.Apply(e, p)
		evs = append(evs, e)
	}
	out := Outcome{Account: next, Changed: len(d.payloads) > 0, Rejected: d.rejected, At: c.once.At}
	if c.once.Name != "" {
		if err := h.leave(r, c.once, out, d.refusal); err != nil {
			return Outcome{}, err
		}
	}
	r.claims = append(r.claims, claimChanges(r.state, next)...)
	r.events = evs
	r.state = next
	if d.refusal != nil {
		return out, d.refusal
	}
	return out, nil
}

// record makes a payload the account's next event. Time never runs backwards
// within an account, even if the machine's clock does or nodes disagree.
func (h *Accounts) record(stream events.Stream, state *events.Account, meta events.Metadata, p events.Payload) (events.Event, error) {
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

// isEmpty tells whether there is nothing to append.
func (r *round) isEmpty() bool { return len(r.events) == 0 && len(r.receipts) == 0 }

// append stores what the round has to store, and returns the position of the
// account's last event.
func (r *round) append(ctx context.Context, store *eventstore.Store) (last uint64, err error) {
	if r.isEmpty() {
		return r.state.Position, nil
	}
	last, err = store.Append(ctx, r.stream, r.expected, r.claims, r.events, r.receipts...)
	if len(r.events) == 0 {
		last = r.state.Position
	}
	return last, err
}

// settle answers every call and returns the state after the round. The events
// of one append have consecutive positions, of which last is the last.
func (r *round) settle(last uint64) *events.Account {
	position := func(after int) uint64 { return last - uint64(len(r.events)-after) }
	// All states are finished before anybody gets one: commands that changed
	// nothing share theirs. Without events the state is the cache's.
	if len(r.events) > 0 {
		r.state.Position = last
	}
	for _, v := range r.verdicts {
		if v.err == nil && v.after > 0 {
			v.outcome.Account.Position = position(v.after)
		}
	}
	for _, v := range r.verdicts {
		v.call.answer(v.outcome, v.err)
	}
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
	case events.ClaimCustomerNumber:
		return fieldCustomerNumber
	}
	return "/" + kind
}
