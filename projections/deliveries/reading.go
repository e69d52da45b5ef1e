package deliveries

import (
	"context"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

// logPage is how many records of the log are read at once by a third party that is behind
// the feed.
const logPage = 500

// full reports whether no more deliveries may be opened. Those of which the store knows
// nothing are bounded closely, because they hold back the position. Those that wait for a
// retry must not stop the reading, because the third party may accept the events of all
// other accounts.
func (r *run) full() bool {
	return len(r.held) >= r.d.cfg.Untried || len(r.open) >= r.d.cfg.Waiting
}

// read opens deliveries for what follows in the log, up to the bounds. It reports whether
// it could go on at once.
func (r *run) read(ctx context.Context) (more bool) {
	if r.halted || r.full() || time.Now().Before(r.readAgain) {
		return false
	}
	if len(r.unread) > 0 {
		return r.readPage()
	}
	evs, upTo, ok := r.d.feed.after(r.position)
	if !ok {
		return r.readLog(ctx)
	}
	for _, e := range evs {
		if !r.passEvent(e.Stream, e.Type, e.Version, e.Position, e) {
			return false
		}
	}
	r.moveTo(upTo)
	return false
}

// readLog reads a page of the log, because the feed no longer has it. Records are enough:
// most events are not wanted, and those that are are read from their account's stream.
func (r *run) readLog(ctx context.Context) (more bool) {
	page, err := r.d.cfg.Records.ReadAll(ctx, r.position, logPage)
	if err != nil {
		if ctx.Err() == nil {
			r.troubled(nil, err)
			r.readAgain = time.Now().Add(troubleDelay)
		}
		return false
	}
	if !r.readAgain.IsZero() {
		r.readAgain = time.Time{}
		r.untroubled(nil)
	}
	r.unread = page
	return r.readPage()
}

// readPage goes through the page. What the bounds leave of it is kept: to read the page
// again for every delivery that is done would be 500 records for each request.
func (r *run) readPage() (more bool) {
	more = len(r.unread) > 0
	for len(r.unread) > 0 {
		next := &r.unread[0]
		if !r.passEvent(next.Stream, next.Type, next.Version, next.Position, nil) {
			return false
		}
		r.unread = r.unread[1:]
	}
	return more
}

// passEvent opens a delivery for an event, unless the third party does not want it or the
// account's delivery is open already, and moves the position to the event. e is nil when
// the event has to be read later. It returns false when the event would open a delivery
// too many: then reading waits, and the log keeps the rest.
func (r *run) passEvent(stream events.Stream, eventType string, version, position uint64, e *events.Event) bool {
	if !r.of.party.Load().Wants(eventType) { // as of most
		r.moveTo(position)
		return true
	}
	category, account, err := stream.Split()
	if err != nil || category != events.CategoryAccount {
		r.moveTo(position)
		return true
	}
	d := r.open[account]
	switch {
	case d == nil && r.full():
		return false
	case d == nil:
		d = newDelivery(account, version, position, e)
		r.open[account], r.held[d] = d, struct{}{}
		r.enqueue(d, time.Now().Add(r.schedule[0]))
	case d.busy:
		// What the attempt under way saves does not cover this event.
		d.newest = max(d.newest, version)
		r.held[d] = struct{}{}
	case d.newest > 0: // else the next attempt asks for the end of the stream
		d.newest = max(d.newest, version)
	}
	r.moveTo(position)
	return true
}

// newDelivery makes a delivery for an account's event. The store may know more of the
// account; the first attempt asks it (run.loadRow).
func newDelivery(account ulid.ULID, version, position uint64, e *events.Event) *Delivery {
	return &Delivery{Account: account, Version: version - 1, Position: position - 1, event: e, newest: version, index: -1}
}

func (r *run) moveTo(position uint64) {
	if position > r.position {
		r.position, r.progress.moved = position, true
	}
}
