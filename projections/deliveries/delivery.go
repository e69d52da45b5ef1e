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

// Delivery is an account's next event for one third party. Its exported fields are a row
// of deliveries.db. There may be a hundred thousand in memory, so a delivery holds no
// event but the next one, and that only until it was tried.
type Delivery struct {
	Account ulid.ULID
	// Version is the version of the account up to which all events are done: delivered,
	// given up, or not wanted. The next event comes after it. Position is the position in
	// the log up to which all events of the account are done.
	Version  uint64
	Position uint64
	Attempts int       // with the next event, as far as they count in the retry schedule
	Since    time.Time // when the first of them began
	Next     time.Time // when the retry schedule tries the next event again
	// Behind means that the account has events after Version that the third party's
	// reading of the log has passed, so only this row knows of them.
	Behind bool

	// Delivered is the position of the newest event of the account that the third party
	// accepted, or that was skipped; DeliveredAt is when. Store.Save derives both from
	// attempts and ignores what is here.
	Delivered   uint64
	DeliveredAt time.Time

	event    *events.Event // the next event, shared with the feed; nil: to be read from the account's stream
	newest   uint64        // the account's version as far as it was read; 0: not known
	stored   bool          // the exported fields are as in the store, or there is no row
	busy     bool          // deliver works on a copy of it
	hastened bool          // the wait was cut short, and none was waited in full since
	due      time.Time     // when to try, while it is in run.waiting
	index    int           // in run.waiting, -1 elsewhere
}

// waits reports whether the store knows that events of the account have to be sent.
func (d *Delivery) waits() bool { return d.Attempts > 0 || d.Behind }

// done returns the delivery after an event with which nothing more is to be done.
func (d Delivery) done(version, position uint64) Delivery {
	d.Version, d.Position, d.event = version, position, nil
	d.Attempts, d.Since, d.Next = 0, time.Time{}, time.Time{}
	d.Behind = d.newest > version
	return d
}

// unbegun returns the delivery with its event as if it had never been tried.
func (d Delivery) unbegun() Delivery {
	d.Attempts, d.Since, d.Next, d.Behind = 0, time.Time{}, time.Time{}, true
	return d
}

const (
	// pageSize is how many events of one account are read from its stream at once at most.
	pageSize = 32

	// freshFor is how old an event may be that is sent from memory. An older one is read
	// again: it may have waited for hours, and its account may have been erased since.
	freshFor = time.Second
)

// errUnsent means that konto itself could not make a request. That says nothing about the
// third party, and does not count in the retry schedule.
var errUnsent = errors.New("request could not be made")

// deliver sends the next event of an account once. It returns the delivery as it is from
// then on, and the attempt, which is nil when there was nothing to send. After an error
// nothing is stored. The account's next event waits until the loop has the result
// (run.finish), so the events of an account are sent in order.
//
// A crash in each step:
//
//  1. Find the event. Nothing has happened yet.
//  2. Send it. The third party may have it, and is sent it again after the next start,
//     with the same webhook-id.
//  3. Judge the answer: the retry schedule decides. As in 2.
//  4. Save the delivery and the attempt in one transaction. Before the commit as in 2.
//     After it the event is not sent again, although the third party's position may be
//     before it: step 1 compares with the saved version.
//
// ctx is that of all requests, which may go on for endTime after the run was told to stop.
func (r *run) deliver(ctx context.Context, party *events.ThirdParty, d Delivery, lastDelivered time.Time) (Delivery, *Attempt, error) {
	if err := r.findEvent(ctx, party, &d); err != nil {
		return d, nil, err
	}
	if d.event == nil { // nothing more is wanted
		if !d.waits() {
			return d, nil, nil
		}
		d = d.done(d.Version, d.Position)
		return d, nil, r.save(ctx, &d, nil)
	}
	if !r.requests.begin(ctx) {
		return d, nil, ctx.Err()
	}
	if !r.db.MaySend() {
		r.requests.end()
		return d, nil, fmt.Errorf("%w: another node may soon send to this third party", errUnsent)
	}
	at := time.Now()
	answer := r.d.send(ctx, r.log, party, d.event, r.around...)
	r.requests.end()
	switch {
	case answer.Verdict == webhook.Failed && ctx.Err() != nil:
		return d, nil, ctx.Err() // konto stops and has cut the request off
	case answer.Verdict == webhook.Unsent:
		return d, nil, fmt.Errorf("%w: %s", errUnsent, answer.Problem)
	}
	a := newAttempt(party.ID, d.Account, d.event, d.Attempts+1, at, answer)
	d = r.schedule.judge(d, a, lastDelivered)
	return d, a, r.save(ctx, &d, a)
}

// findEvent finds the account's next event that the third party wants. It leaves d.event
// nil when there is none.
func (r *run) findEvent(ctx context.Context, party *events.ThirdParty, d *Delivery) error {
	if err := r.loadRow(ctx, d); err != nil {
		return err
	}
	if e := d.event; e != nil && (e.Version <= d.Version || time.Since(e.Time) >= freshFor) {
		d.event = nil
	}
	if d.newest == 0 {
		head, err := r.d.cfg.Store.StreamHead(ctx, events.AccountStream(d.Account))
		if err != nil {
			return err
		}
		d.newest = head.Version
	}
	// The pages grow, because mostly the first event is wanted.
	for limit := 1; d.event == nil && d.Version < d.newest; limit = min(2*limit, pageSize) {
		page, err := r.readStream(ctx, d, limit)
		if err != nil {
			return err
		}
		for i := range page {
			if wants(party, &page[i]) {
				d.event = &page[i]
				break
			}
			d.Version, d.Position = page[i].Version, page[i].Position
		}
	}
	return nil
}

// loadRow reads what is stored of the account before the first attempt of the run. Events
// up to the stored version are not sent again, although the log is read again from an
// earlier position after a crash: the third party may have got later events since.
func (r *run) loadRow(ctx context.Context, d *Delivery) error {
	if !d.stored {
		row, ok, err := r.db.Delivery(ctx, r.of.id, d.Account)
		if err != nil {
			return err
		}
		if ok {
			d.Version, d.Position = max(d.Version, row.Version), max(d.Position, row.Position)
			d.Attempts, d.Since, d.Next, d.Behind = row.Attempts, row.Since, row.Next, row.Behind
		}
		d.stored = true
	}
	r.schedule.boundTimes(d, time.Now())
	return nil
}

// readStream reads more of the account's stream, which has more: d.newest is above d.Version.
func (r *run) readStream(ctx context.Context, d *Delivery, limit int) ([]events.Event, error) {
	stream := events.AccountStream(d.Account)
	page, err := r.d.cfg.Store.ReadStream(ctx, stream, d.Version, limit)
	if err == nil && len(page) == 0 {
		err = fmt.Errorf("%s ends at version %d, but the log has later events of it", stream, d.Version)
	}
	return page, err
}

// wants reports whether the third party subscribed to e and e can be read. An event whose
// key was destroyed is skipped without a request.
func wants(party *events.ThirdParty, e *events.Event) bool { return !e.Shredded && party.Wants(e.Type) }

// save stores the result of deliver. It tries again until it succeeds or ctx ends: an event
// is not sent twice because a disk is full.
func (r *run) save(ctx context.Context, d *Delivery, a *Attempt) error {
	for delay := time.Second; ; delay = min(2*delay, 16*time.Second) {
		// Also when ctx has ended, because the third party has the event.
		err := r.db.Save(context.WithoutCancel(ctx), r.of.id, d, a)
		if err == nil || ctx.Err() != nil {
			return err
		}
		r.log.Error("delivery is not recorded yet", "error", err)
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return err
		}
	}
}
