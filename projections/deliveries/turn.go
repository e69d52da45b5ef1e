package deliveries

import (
	"context"
	"errors"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/projections/webhook"
)

// turn is one step of a lane: its next event is found, sent once, and what came
// of it is stored. The next event of the account waits for the turn's end.
type turn struct {
	lane   *lane
	party  events.ThirdParty // as it was when the turn began
	behind bool              // more marks than the lane's first event were there then
	others time.Time         // when something was last delivered to the third party
	round  int               // of the pace

	// What came of it.
	tried   bool // an attempt was made
	first   bool // the first of its event
	trial   trial
	verdict verdict
	stored  bool // the ledger has the lane's row
	readAll bool // the account's stream was read to its end
	err     error
}

// take runs the turn. ctx is that of attempts: it outlives the loop's own for as
// long as attempts under way may take at an orderly end.
func (l *lanes) take(ctx context.Context, t *turn) {
	if t.err = l.find(ctx, t); t.err != nil || len(t.lane.next) == 0 {
		return
	}
	if !l.attempt(ctx, t) {
		return // the end came first; it is sent again after the next start
	}
	t.tried = true
	behind := len(t.lane.next) > 1 || t.behind && !t.readAll
	t.verdict = l.schedule.judge(t.lane.row, t.trial, behind)
	number := t.lane.row.Attempts + 1
	t.first = number == 1
	t.err = l.settle(ctx, t, Settlement{Party: t.party.ID, Lane: t.verdict.lane, Attempt: t.entry(t.lane.row.Account, number)})
}

// find loads the lane's next event, unless it is there, and drops what was
// settled before.
func (l *lanes) find(ctx context.Context, t *turn) error {
	if err := l.compare(ctx, t.lane); err != nil {
		return err
	}
	last := t.lane.row.Position
	for len(t.lane.next) == 0 && t.behind && !t.readAll {
		page, readAll, err := l.page(ctx, t.lane)
		if err != nil {
			return err
		}
		t.readAll = readAll
		for _, e := range page {
			last, t.lane.read = e.Position, e.Version
			if t.party.Wants(e.Type) {
				t.lane.next = append(t.lane.next, e)
			}
		}
	}
	if len(t.lane.next) > 0 {
		return nil
	}
	if !t.lane.row.waits() {
		t.stored = true
		return nil
	}
	row := Lane{
		Account: t.lane.row.Account, Version: t.lane.read, Position: last, Settled: t.lane.row.Settled,
	}
	return l.settle(ctx, t, Settlement{Party: t.party.ID, Lane: row})
}

// compare is the order guard. What the ledger has as settled is not sent again,
// although the log is read once more from an earlier position, as after a crash:
// the third party has been told of later events since.
func (l *lanes) compare(ctx context.Context, lane *lane) error {
	if !lane.known {
		row, ok, err := l.cfg.Ledger.LaneOf(ctx, l.id, lane.row.Account)
		if err != nil {
			return err
		}
		if ok {
			lane.row = row
		}
		lane.known = true
	}
	for len(lane.next) > 0 && lane.next[0].Version <= lane.row.Version {
		lane.next = lane.next[1:]
	}
	lane.read = max(lane.read, lane.row.Version)
	return nil
}

// page reads more of the account's stream, and tells whether that was its end.
func (l *lanes) page(ctx context.Context, lane *lane) (page []events.Event, end bool, err error) {
	stream := events.AccountStream(lane.row.Account)
	page, err = l.cfg.Store.ReadStream(ctx, stream, lane.read, pageSize)
	if errors.Is(err, eventstore.ErrNoKey) {
		return l.erased(ctx, stream, page, err)
	}
	return page, len(page) < pageSize, err
}

// erased is what is left to tell of an account whose key is gone: that it was
// erased. Its other events hold nothing any more. A key that is missing for
// another reason, such as an old copy of the keyring, is an error: those events
// are to be told of once the key is back.
func (l *lanes) erased(ctx context.Context, stream events.Stream, page []events.Event, cause error) ([]events.Event, bool, error) {
	if len(page) > 0 {
		return page, false, nil
	}
	head, err := l.cfg.Store.StreamHead(ctx, stream)
	if err != nil {
		return nil, false, err
	}
	last, err := l.cfg.Store.ReadStream(ctx, stream, head.Version-1, 1)
	if err != nil || len(last) != 1 || last[0].Type != events.TypeAccountErased {
		return nil, false, errors.Join(cause, err)
	}
	l.log.Debug("events of an erased account are not told any more", "position", last[0].Position)
	return last, true, nil
}

// attempt passes the lane's next event to the router and waits for what comes of
// it. It is false when ctx ended first.
func (l *lanes) attempt(ctx context.Context, t *turn) bool {
	t.trial = trial{event: t.lane.next[0], at: time.Now(), others: t.others}
	a := &attempt{party: t.party, event: t.trial.event}
	m := message.NewMessageWithContext(withAttempt(ctx, a), a.event.ID.String(), a.event.Data)
	select {
	case l.out <- m:
	case <-ctx.Done():
		return false
	}
	select {
	case <-m.Acked():
	case <-m.Nacked():
	}
	t.trial.answer, t.trial.fault, t.trial.ended = a.answer, a.fault, time.Now()
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
	t.stored, t.lane.row = true, s.Lane
	if len(t.lane.next) > 0 && t.lane.next[0].Version <= s.Lane.Version {
		t.lane.next = t.lane.next[1:]
	}
	return nil
}
