package deliveries

import (
	"container/heap"
	"time"

	"konto/projections/webhook"
)

// troubled says once what konto itself has trouble with: a lane, or with nil
// reading the log.
func (l *lanes) troubled(lane *lane, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.status.Error == "" {
		l.log.Error("an account's events cannot be told", "error", err)
	}
	l.trouble[lane] = struct{}{}
	l.status.Error = err.Error()
}

// well ends the trouble with a lane, or with nil that with reading the log.
func (l *lanes) well(lane *lane) {
	delete(l.trouble, lane)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.trouble) == 0 {
		l.status.Error = ""
	}
}

// judged draws the conclusions for the whole third party.
func (l *lanes) judged(t *turn) {
	a, now := t.trial.answer, t.trial.ended
	switch a.Verdict {
	case webhook.Delivered:
		l.pace.succeeded()
		l.taken = now
		l.hasten(now)
	case webhook.Slow:
		l.pace.slowed(t.round, now)
	}
	if holdsAll(a) {
		l.pace.holdUntil(now.Add(min(a.RetryAfter, longestWait)))
	}
	l.tell(t)
	if t.verdict.disable != "" && !l.halted {
		l.halted = true
		l.halt(t.verdict.disable)
	}
}

// tell logs where trouble begins and ends, and not every attempt in between.
func (l *lanes) tell(t *turn) {
	a := t.trial.answer
	switch failed := a.Verdict == webhook.Failed || a.Verdict == webhook.Slow; {
	case failed && !l.failing:
		l.log.Warn("delivery failed and is retried", "event", t.trial.event.ID, "status", a.Status, "problem", a.Problem)
		l.failing = true
	case a.Verdict == webhook.Delivered && l.failing:
		l.log.Info("deliveries succeed again")
		l.failing = false
	}
	if t.verdict.outcome == OutcomeFailed {
		l.log.Warn("event was given up for this third party; redeliver sends it again", "event", t.trial.event.ID,
			"position", t.trial.event.Position)
	}
}

// hasteFrom is how long a lane must have to wait for it to be worth hastening.
const hasteFrom = 10 * time.Second

// hasten tries lanes at once that wait although the third party takes something
// again. Each is hastened once in a wait: one whose event is at fault would
// otherwise be tried with every success.
func (l *lanes) hasten(now time.Time) {
	for _, lane := range l.quick {
		if lane.index >= 0 && !lane.hastened {
			lane.hastened, lane.due = true, now
			heap.Fix(&l.waiting, lane.index)
		}
	}
	l.quick = l.quick[:0]
}
