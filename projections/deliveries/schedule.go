package deliveries

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"konto/events"
	"konto/projections/webhook"
)

// DefaultSchedule is the retry schedule that the text of Standard Webhooks
// recommends: the delay before each try, some 75 hours together.
func DefaultSchedule() []time.Duration {
	return []time.Duration{
		0, 5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
		10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
	}
}

// jitter spreads retries by a tenth to either side, so that accounts which failed
// together do not come back together.
const jitter = 0.1

// CheckSchedule tells what is wrong with a retry schedule.
func CheckSchedule(schedule []time.Duration) error {
	if len(schedule) == 0 {
		return errors.New("a retry schedule has at least one try")
	}
	for _, delay := range schedule {
		if delay < 0 || delay > 7*24*time.Hour {
			return fmt.Errorf("a retry's delay is from 0s to 168h, not %s", delay)
		}
	}
	return nil
}

// schedule is the delay before each try of an event.
type schedule []time.Duration

// delay is how long to wait before another try, when so many were made.
func (s schedule) delay(tries int) time.Duration {
	return time.Duration(float64(s[tries]) * (1 - jitter + 2*jitter*rand.Float64()))
}

// trial is one try of an account's next event, and what is known around it.
type trial struct {
	event  events.Event
	at     time.Time // when it began
	ended  time.Time
	answer webhook.Answer
	// others is when another event was last delivered to the third party.
	others time.Time
}

// verdict is what becomes of a lane after a trial.
type verdict struct {
	lane    Lane
	outcome string
	disable string // why the third party is to be disabled, "" when it is not
}

// judge decides what becomes of a lane whose next event was tried. behind tells
// that more of the account's events follow.
func (s schedule) judge(l Lane, t trial, behind bool) verdict {
	switch t.answer.Verdict {
	case webhook.Delivered:
		return verdict{lane: l.settled(t, behind), outcome: OutcomeDelivered}
	case webhook.Aborted:
		return verdict{lane: l.settled(t, behind), outcome: OutcomeAborted}
	case webhook.Skipped:
		return verdict{lane: l.settled(t, behind), outcome: OutcomeSkipped}
	case webhook.Gone:
		return verdict{lane: l.anew(), outcome: OutcomeRetrying, disable: events.DisabledGone}
	}
	if l.Attempts == 0 {
		l.Since = t.at
	}
	// A success elsewhere may have made it come before its time. Then a failure
	// does not use up the schedule.
	if early := t.at.Before(l.Next); !early {
		l.Attempts++
		if l.Attempts >= len(s) {
			return s.exhausted(l, t, behind)
		}
		l.Next = t.ended.Add(s.delay(l.Attempts))
	}
	if asked := t.ended.Add(min(t.answer.RetryAfter, longestWait)); asked.After(l.Next) {
		l.Next = asked
	}
	l.Behind = behind
	return verdict{lane: l, outcome: OutcomeRetrying}
}

// exhausted tells a bad event from a bad third party: one that took something
// else meanwhile is well.
func (s schedule) exhausted(l Lane, t trial, behind bool) verdict {
	if t.others.After(l.Since) {
		return verdict{lane: l.settled(t, behind), outcome: OutcomeFailed}
	}
	return verdict{lane: l.anew(), outcome: OutcomeRetrying, disable: events.DisabledExhausted}
}

// settled is the lane when nothing more is to be done about the event.
func (l Lane) settled(t trial, behind bool) Lane {
	return Lane{Account: l.Account, Version: t.event.Version, Position: t.event.Position, Settled: t.ended, Behind: behind}
}

// anew is the lane when its next event is to be tried as if it never was, once
// the third party is resumed.
func (l Lane) anew() Lane {
	l.Attempts, l.Since, l.Next, l.Behind = 0, time.Time{}, time.Time{}, true
	return l
}

// sane is the lane when no time of it is further ahead than any that konto sets:
// a clock that was wrong for a moment must not park an account for years.
func (l Lane) sane(s schedule, now time.Time) Lane {
	if l.Since.After(now) {
		l.Since = now
	}
	if last := now.Add(s.longest()); l.Next.After(last) {
		l.Next = last
	}
	return l
}

// longest is the longest that a lane may have to wait.
func (s schedule) longest() time.Duration {
	return max(longestWait, time.Duration((1+jitter)*float64(slices.Max(s))))
}

// waits tells whether the ledger knows that events of the account wait.
func (l Lane) waits() bool { return l.Attempts > 0 || l.Behind }

// holdsAll tells whether an answer asks not to be sent anything for a time.
func holdsAll(a webhook.Answer) bool {
	return a.RetryAfter > 0 && (a.Status == http.StatusTooManyRequests || a.Status == http.StatusServiceUnavailable)
}
