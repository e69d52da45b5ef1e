package deliveries

import (
	"context"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

const (
	// savePositionEvery is how often a third party's position is stored. After a crash so
	// much of the log is read again, and not sent again.
	savePositionEvery = time.Second

	// checkpointEvery is how often the log gets a checkpoint, at most.
	checkpointEvery = 10 * time.Minute
)

// progress is what is saved of how far a third party's deliveries have come: a position in
// the store, and a checkpoint in the log in case the store is lost.
type progress struct {
	position   uint64 // in the store
	positionAt time.Time
	moved      bool // something changed since

	checkpoint   uint64 // in the log
	checkpointAt time.Time
	worked       bool // something was sent or skipped since; else a checkpoint would save no repetition

	// erased are the positions of erasures that were sent, by account. What the store knows
	// of such an account is deleted once the third party's position is there. Before, its
	// row keeps the account's events from being sent again.
	erased map[ulid.ULID]uint64
}

func newProgress(position, checkpoint uint64) progress {
	now := time.Now()
	return progress{
		position: position, positionAt: now, checkpoint: checkpoint, checkpointAt: now, erased: map[ulid.ULID]uint64{},
	}
}

// stored notes the result of an attempt that is in the store; a is nil if there was none.
func (p *progress) stored(d *Delivery, a *Attempt) {
	p.moved, p.worked = true, true
	if a != nil && a.Type == events.TypeAccountErased && d.Position == a.Position {
		p.erased[d.Account] = a.Position
	}
}

// nextSave is when something has to be saved, unless something else happens before.
func (p *progress) nextSave(now time.Time) time.Time {
	at := now.Add(checkpointEvery)
	if p.worked {
		at = p.checkpointAt.Add(checkpointEvery)
	}
	if save := p.positionAt.Add(savePositionEvery); p.moved && save.Before(at) {
		at = save
	}
	return at
}

// covered is the position up to which every event is done, or belongs to an account whose
// row in the store waits.
func (r *run) covered() uint64 {
	position := r.position
	for d := range r.held {
		position = min(position, d.Position)
	}
	return position
}

// allDone is the position up to which every event is done.
func (r *run) allDone() uint64 {
	position := r.position
	for _, d := range r.open {
		position = min(position, d.Position)
	}
	return position
}

// saveProgress saves the position and the checkpoint when it is time to.
func (r *run) saveProgress(ctx context.Context, now time.Time) {
	if p := &r.progress; p.moved && now.Sub(p.positionAt) >= savePositionEvery {
		r.savePosition(ctx)
	}
	if p := &r.progress; p.worked && now.Sub(p.checkpointAt) >= checkpointEvery {
		r.saveCheckpoint(ctx)
	}
}

// saveAllProgress is saveProgress at the end of a run.
func (r *run) saveAllProgress(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	r.savePosition(ctx)
	if r.progress.worked {
		r.saveCheckpoint(ctx)
	}
}

// savePosition stores the position, and then deletes erased accounts. What fails is tried
// again the next time.
func (r *run) savePosition(ctx context.Context) {
	p, covered := &r.progress, r.covered()
	p.positionAt, p.moved = time.Now(), false
	if covered <= p.position && len(p.erased) == 0 {
		return
	}
	if err := r.db.SetPosition(ctx, r.of.id, covered); err != nil {
		r.log.Error("position is not recorded yet", "position", covered, "error", err)
		p.moved = true
		return
	}
	p.position = covered
	for account, position := range p.erased {
		if position > covered {
			continue
		}
		if err := r.db.DeleteAccount(ctx, account); err != nil {
			r.log.Error("an erased account is still in the delivery log", "error", err)
			p.moved = true
			continue
		}
		delete(p.erased, account)
	}
}

// saveCheckpoint appends a checkpoint to the log.
func (r *run) saveCheckpoint(ctx context.Context) {
	p, done := &r.progress, r.allDone()
	p.checkpointAt = time.Now()
	if done <= p.checkpoint {
		return
	}
	if _, err := r.d.cfg.Registry.Checkpoint(ctx, r.of.id, done); err != nil {
		r.log.Warn("checkpoint is not in the log", "position", done, "error", err)
		return
	}
	p.checkpoint, p.worked = done, false
}
