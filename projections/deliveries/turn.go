package deliveries

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/projections/webhook"
)

// pageSize is how many events of one account are read from its stream at a time
// at most.
const pageSize = 32

// turn is one step of a lane: its next event is found, sent once, and what came
// of it is stored. The next event of the account waits for the turn's end.
type turn struct {
	of     *lane // the loop's
	lane   lane  // as it was when the turn began; so is the third party
	party  events.ThirdParty
	others time.Time // when something was last delivered to the third party
	round  int       // of the pace

	row   Lane          // as the ledger has it
	event *events.Event // the lane's next, nil when nothing follows

	// What came of it.
	tried   bool // an attempt was made
	first   bool // the first of its event
	early   bool // it came before its time
	trial   trial
	verdict verdict
	stored  bool // the ledger has row
	err     error
}

// take runs the turn. ctx is that of attempts: it outlives the loop's own for as
// long as attempts under way may take at an orderly end.
func (l *lanes) take(ctx context.Context, t *turn) {
	if t.err = l.find(ctx, t); t.err != nil || t.event == nil {
		return
	}
	if !l.attempt(ctx, t) {
		return // the end came first; it is sent again after the next start
	}
	if a := t.trial.answer; a.Verdict == webhook.Unsent {
		t.err = fmt.Errorf("%w: %s", errUnsent, a.Problem)
		return
	}
	t.tried, t.early = true, t.trial.at.Before(t.row.Next)
	t.verdict = l.schedule.judge(t.row, t.trial, t.lane.seen > t.event.Version)
	number := t.row.Attempts + 1
	t.first = number == 1
	t.err = l.settle(ctx, t, Settlement{Party: t.party.ID, Lane: t.verdict.lane, Attempt: t.entry(t.row.Account, number)})
}

// errUnsent is for a request that konto itself could not make. It says nothing of
// the third party, and does not use up the schedule.
var errUnsent = errors.New("request could not be made")

// find finds the lane's next event, unless nothing is left to be told of.
func (l *lanes) find(ctx context.Context, t *turn) error {
	if err := l.compare(ctx, t); err != nil {
		return err
	}
	read, last := t.lane.version, t.lane.settled
	// Page by page, and more with each: mostly the first event is wanted.
	for limit := 1; t.event == nil && read < t.lane.seen; limit = min(2*limit, pageSize) {
		page, err := l.page(ctx, t.lane.account, read, limit)
		if err != nil {
			return err
		}
		for i := range page {
			read, last = page[i].Version, page[i].Position
			if tells(&t.party, &page[i]) {
				t.event = &page[i]
				break
			}
		}
	}
	if t.event != nil {
		return nil
	}
	rest := Lane{Account: t.lane.account, Version: read, Position: last, Settled: t.row.Settled}
	if t.row.waits() {
		return l.settle(ctx, t, Settlement{Party: t.party.ID, Lane: rest})
	}
	t.row, t.stored = rest, true
	return nil
}

// compare is the order guard. What the ledger has as settled is not sent again,
// although the log is read once more from an earlier position, as after a crash:
// the third party has been told of later events since.
func (l *lanes) compare(ctx context.Context, t *turn) error {
	row, ok, err := l.cfg.Ledger.LaneOf(ctx, l.id, t.lane.account)
	if err != nil {
		return err
	}
	if !ok {
		row = Lane{Account: t.lane.account, Version: t.lane.version, Position: t.lane.settled}
	}
	t.row = row.sane(l.schedule, time.Now())
	if e := t.lane.next; e != nil && e.Version > row.Version && time.Since(e.Time) < freshFor {
		t.event = e
	}
	t.lane.reach(row)
	if t.lane.seen == 0 {
		head, err := l.cfg.Store.StreamHead(ctx, events.AccountStream(t.lane.account))
		t.lane.seen = head.Version
		return err
	}
	return nil
}

// page reads more of an account's stream: something, since more of it was seen.
func (l *lanes) page(ctx context.Context, account ulid.ULID, after uint64, limit int) ([]events.Event, error) {
	stream := events.AccountStream(account)
	page, err := l.cfg.Store.ReadStream(ctx, stream, after, limit)
	if err == nil && len(page) == 0 {
		err = fmt.Errorf("%s ends at version %d, before what the log has of it", stream, after)
	}
	return page, err
}

// freshFor is how old an event may be that is sent from memory. An older one is
// read once more: it may have waited here for hours, and its account's key be
// destroyed meanwhile.
const freshFor = time.Second

// tells tells whether there is something to say of an event to a third party.
// What was destroyed is settled silently.
func tells(party *events.ThirdParty, e *events.Event) bool { return !e.Shredded && party.Wants(e.Type) }

// attempt sends the event. It is false when ctx ended first.
func (l *lanes) attempt(ctx context.Context, t *turn) bool {
	if !l.requests.begin(ctx) {
		return false
	}
	defer l.requests.end()
	t.trial = trial{event: *t.event, at: time.Now(), others: t.others}
	t.trial.answer, t.trial.ended = l.send(ctx, &t.party, &t.trial.event), time.Now()
	return ctx.Err() == nil || t.trial.answer.Verdict != webhook.Failed
}

// entry is the attempt in the delivery log.
func (t *turn) entry(account ulid.ULID, number int) Attempt {
	excerpt := string(t.trial.answer.Excerpt)
	if t.trial.answer.Problem != "" {
		excerpt = t.trial.answer.Problem
	}
	return Attempt{
		Party: t.party.ID, Account: account, Event: t.trial.event.ID, Type: t.trial.event.Type,
		Position: t.trial.event.Position, Number: number, At: t.trial.at, Outcome: t.verdict.outcome,
		Status: t.trial.answer.Status, Latency: t.trial.answer.Latency, Excerpt: excerpt,
	}
}

// settle stores what the turn changed; only then is the event done with. A
// ledger that fails is tried again until it does not, or ctx ends: what was sent
// is not to be sent again for the sake of a full disk.
func (l *lanes) settle(ctx context.Context, t *turn, s Settlement) error {
	for delay := time.Second; ; delay = min(2*delay, 16*time.Second) {
		// Also when ctx has ended by now: the third party has the event.
		err := l.cfg.Ledger.Settle(context.WithoutCancel(ctx), s)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return err
		}
		l.log.Error("delivery is not recorded yet", "error", err)
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return err
		}
	}
	t.stored, t.row = true, s.Lane
	return nil
}
