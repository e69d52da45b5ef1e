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

// DefaultSchedule is the retry schedule that the text of Standard Webhooks recommends:
// the delay before each attempt, some 75 hours together.
func DefaultSchedule() []time.Duration {
	return []time.Duration{
		0, 5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
		10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
	}
}

const (
	// jitter varies each delay by up to a tenth, so that accounts which failed together
	// are not tried together again.
	jitter = 0.1

	// longestWait bounds what Retry-After can ask for: the longest delay of the default
	// schedule.
	longestWait = 24 * time.Hour
)

// CheckSchedule returns what is wrong with a retry schedule.
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

// schedule is the delay before each attempt with an event.
type schedule []time.Duration

// delay is how long to wait after so many attempts.
func (s schedule) delay(attempts int) time.Duration {
	return time.Duration(float64(s[attempts]) * (1 - jitter + 2*jitter*rand.Float64()))
}

// judge returns the delivery after an attempt, and sets the attempt's outcome.
// lastDelivered is when the third party last accepted an event of any account.
func (s schedule) judge(d Delivery, a *Attempt, lastDelivered time.Time) Delivery {
	a.early = a.At.Before(d.Next)
	switch a.verdict {
	case webhook.Delivered:
		a.Outcome = OutcomeDelivered
		return d.done(d.event.Version, d.event.Position)
	case webhook.Aborted:
		a.Outcome = OutcomeAborted
		return d.done(d.event.Version, d.event.Position)
	case webhook.Skipped:
		a.Outcome = OutcomeSkipped
		return d.done(d.event.Version, d.event.Position)
	case webhook.Gone:
		a.Outcome, a.disable = OutcomeRetrying, events.DisabledGone
		return d.unbegun()
	}
	if d.Attempts == 0 {
		d.Since = a.At
	}
	// An attempt is early when run.hasten cut the wait short. Then a failure does not count
	// in the schedule.
	if !a.early {
		d.Attempts++
		if d.Attempts >= len(s) {
			return exhausted(d, a, lastDelivered)
		}
		d.Next = a.ended.Add(s.delay(d.Attempts))
	}
	if asked := a.ended.Add(min(a.retryAfter, longestWait)); asked.After(d.Next) {
		d.Next = asked
	}
	d.Behind = d.newest > d.event.Version
	a.Outcome = OutcomeRetrying
	return d
}

// exhausted is judge after the last attempt of the schedule. If the third party accepted
// anything since the first one, the event is at fault and is given up. Otherwise the third
// party is disabled and the event stays.
func exhausted(d Delivery, a *Attempt, lastDelivered time.Time) Delivery {
	if lastDelivered.After(d.Since) {
		a.Outcome = OutcomeFailed
		return d.done(d.event.Version, d.event.Position)
	}
	a.Outcome, a.disable = OutcomeRetrying, events.DisabledExhausted
	return d.unbegun()
}

// boundTimes corrects times that are further ahead than any that konto sets. A clock that
// was wrong for a moment must not make an account wait for years.
func (s schedule) boundTimes(d *Delivery, now time.Time) {
	if d.Since.After(now) {
		d.Since = now
	}
	longest := max(longestWait, time.Duration((1+jitter)*float64(slices.Max(s))))
	if last := now.Add(longest); d.Next.After(last) {
		d.Next = last
	}
}

// holdsAll reports whether an answer asks to be sent nothing at all for a time.
func holdsAll(a *Attempt) bool {
	return a.retryAfter > 0 && (a.Status == http.StatusTooManyRequests || a.Status == http.StatusServiceUnavailable)
}
