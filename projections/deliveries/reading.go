package deliveries

import (
	"context"
	"time"

	"konto/events"
)

// logPage is how many records are read at a time by a third party that is behind
// the feed.
const logPage = 500

// full tells whether no lane may be opened. Few may be that the ledger knows
// nothing of: they hold back the position. Those that wait for a retry must not
// stop the reading: the third party may be well for all other accounts.
func (l *lanes) full() bool { return len(l.held) >= l.cfg.Lanes || len(l.open) >= l.cfg.Waiting }

// read opens lanes for what follows in the log, until the bounds on lanes, and
// tells whether it could go on at once.
func (l *lanes) read(ctx context.Context) (more bool) {
	if l.halted || l.full() || time.Now().Before(l.readAgain) {
		return false
	}
	if len(l.unread) > 0 {
		return l.readOn()
	}
	evs, upTo, ok := l.feed.after(l.position)
	if !ok {
		return l.catchUp(ctx)
	}
	for _, e := range evs {
		if !l.pass(mark{stream: e.Stream, eventType: e.Type, version: e.Version, position: e.Position, event: e}) {
			return false
		}
	}
	l.moveTo(upTo)
	return false
}

// catchUp reads a page of the log. Records do: what an event holds is read from
// its account's stream in its turn, and most are not wanted.
func (l *lanes) catchUp(ctx context.Context) (more bool) {
	page, err := l.cfg.Records.ReadAll(ctx, l.position, logPage)
	if err != nil {
		if ctx.Err() == nil {
			l.troubled(nil, err)
			l.readAgain = time.Now().Add(troubleDelay)
		}
		return false
	}
	if !l.readAgain.IsZero() {
		l.readAgain = time.Time{}
		l.well(nil)
	}
	l.unread = page
	return l.readOn()
}

// readOn goes through the page. What the bound on lanes leaves of it is kept:
// to read a page anew for every lane that closes would be work without end.
func (l *lanes) readOn() (more bool) {
	more = len(l.unread) > 0
	for len(l.unread) > 0 {
		r := l.unread[0]
		if !l.pass(mark{stream: r.Stream, eventType: r.Type, version: r.Version, position: r.Position}) {
			return false
		}
		l.unread = l.unread[1:]
	}
	return more
}

// pass takes in one event and moves the position to it. It is false when the
// event would open a lane too many: then reading waits, and the log keeps the rest.
func (l *lanes) pass(m mark) bool {
	if !l.party.Load().Wants(m.eventType) { // as of most
		l.moveTo(m.position)
		return true
	}
	category, account, err := m.stream.Split()
	if err != nil || category != events.CategoryAccount {
		l.moveTo(m.position)
		return true
	}
	switch lane := l.open[account]; {
	case lane != nil:
		if lane.seen > 0 || lane.busy { // else the next turn asks for the stream's end
			lane.seen = max(lane.seen, m.version)
		}
		if lane.busy {
			// What the turn under way stores does not tell of this event.
			l.held[lane] = struct{}{}
		}
	case l.full():
		return false
	default:
		lane = openLane(account, m)
		l.open[account], l.held[lane] = lane, struct{}{}
		l.enqueue(lane, time.Now().Add(l.schedule[0]))
	}
	l.moveTo(m.position)
	return true
}

func (l *lanes) moveTo(position uint64) {
	if position > l.position {
		l.position, l.progress.moved = position, true
	}
}
