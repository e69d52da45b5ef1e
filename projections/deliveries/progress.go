package deliveries

import (
	"context"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

const (
	// saveEvery is how often the ledger learns how far the reading has come.
	// After a crash so much is read again, and not sent again.
	saveEvery = time.Second

	// checkpointEvery is how often the log does, at most.
	checkpointEvery = 10 * time.Minute
)

// progress is what is kept of how far a third party's deliveries have come.
type progress struct {
	saved      uint64 // in the ledger
	savedAt    time.Time
	moved      bool   // the reading went on, or a lane did, since
	checkpoint uint64 // in the log
	checkedAt  time.Time
	worked     bool // something was settled since; else a checkpoint would spare no repetition
	// erased are accounts of whose erasure the third party was told, at a
	// position: what the ledger knows of them may go once its position is there.
	// Before, their rows are the order guard's.
	erased map[ulid.ULID]uint64
}

func newProgress(saved, checkpoint uint64) progress {
	now := time.Now()
	return progress{saved: saved, savedAt: now, checkpoint: checkpoint, checkedAt: now, erased: map[ulid.ULID]uint64{}}
}

// settled takes in that the ledger has what came of a turn.
func (p *progress) settled(t *turn) {
	p.moved, p.worked = true, true
	if e := t.trial.event; t.tried && e.Type == events.TypeAccountErased && t.row.Version == e.Version {
		p.erased[t.row.Account] = e.Position
	}
}

// next is when save has something to do, unless something happens before.
func (p *progress) next(now time.Time) time.Time {
	at := now.Add(checkpointEvery)
	if p.worked {
		at = p.checkedAt.Add(checkpointEvery)
	}
	if save := p.savedAt.Add(saveEvery); p.moved && save.Before(at) {
		at = save
	}
	return at
}

// covered is the position up to which every event is settled or waits in a lane
// of the ledger.
func (l *lanes) covered() uint64 {
	position := l.position
	for lane := range l.held {
		position = min(position, lane.settled)
	}
	return position
}

// settledUpTo is the position up to which every event is settled.
func (l *lanes) settledUpTo() uint64 {
	position := l.position
	for _, lane := range l.open {
		position = min(position, lane.settled)
	}
	return position
}

// save records progress, where it is time to.
func (l *lanes) save(ctx context.Context, now time.Time) {
	if p := &l.progress; p.moved && now.Sub(p.savedAt) >= saveEvery {
		l.savePosition(ctx)
	}
	if p := &l.progress; p.worked && now.Sub(p.checkedAt) >= checkpointEvery {
		l.saveCheckpoint(ctx)
	}
}

// saveAll records progress at an orderly end.
func (l *lanes) saveAll(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	l.savePosition(ctx)
	if l.progress.worked {
		l.saveCheckpoint(ctx)
	}
}

// savePosition tells the ledger how far the reading has come. One that failed is
// made up for by the next.
func (l *lanes) savePosition(ctx context.Context) {
	p, covered := &l.progress, l.covered()
	p.savedAt, p.moved = time.Now(), false
	if covered <= p.saved && len(p.erased) == 0 {
		return
	}
	if err := l.cfg.Ledger.SetPosition(ctx, l.id, covered); err != nil {
		l.log.Error("position is not recorded yet", "position", covered, "error", err)
		p.moved = true
		return
	}
	p.saved = covered
	for account, position := range p.erased {
		if position > covered {
			continue
		}
		if err := l.cfg.Ledger.ForgetAccount(ctx, account); err != nil {
			l.log.Error("an erased account is still in the delivery log", "error", err)
			p.moved = true
			continue
		}
		delete(p.erased, account)
	}
}

// saveCheckpoint tells the log how far deliveries have come.
func (l *lanes) saveCheckpoint(ctx context.Context) {
	p, settled := &l.progress, l.settledUpTo()
	p.checkedAt = time.Now()
	if settled <= p.checkpoint {
		return
	}
	if _, err := l.cfg.Registry.Checkpoint(ctx, l.id, settled); err != nil {
		l.log.Warn("checkpoint is not in the log", "position", settled, "error", err)
		return
	}
	p.checkpoint, p.worked = settled, false
}
