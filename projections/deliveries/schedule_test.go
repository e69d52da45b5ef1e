package deliveries

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"konto/events"
	"konto/projections/webhook"
)

// day is longer than any single delay of the schedule with its jitter.
const day = 27 * time.Hour

func TestWholeScheduleThenDisabled(t *testing.T) {
	virtual(t, func(h *harness) {
		party, account := h.add("crm"), h.open()
		h.answer(failed)
		h.start()
		began := time.Now()
		h.change(account, 2)
		pass(4 * day)
		got := h.requests()
		if len(got) != 10 {
			t.Fatalf("%d tries", len(got))
		}
		due := began
		for i, delay := range DefaultSchedule() {
			if got[i].version != 2 {
				t.Errorf("try %d is of version %d", i+1, got[i].version)
			}
			since := got[i].at.Sub(due)
			if since < delay*9/10 || since > delay*11/10 {
				t.Errorf("try %d came after %s instead of %s", i+1, since, delay)
			}
			due = got[i].at
		}
		if total := due.Sub(began); total < 68*time.Hour || total > 83*time.Hour {
			t.Errorf("the schedule took %s", total)
		}
		p := h.party(party)
		if p.State != events.ThirdPartyFailed || p.Reason != events.DisabledExhausted {
			t.Errorf("third party is %s, %s", p.State, p.Reason)
		}
		if s := h.status(party); s.State != events.ThirdPartyFailed {
			t.Errorf("status is %+v", s)
		}

		h.answer(delivered)
		h.happen(party, events.ThirdPartyResumed{})
		pass(time.Second)
		if got := h.versionsOf(account); got != "[2 3]" {
			t.Errorf("after it was resumed %s were sent", got)
		}
	})
}

// An event that fails while others succeed is given up, and the account's next ones are sent.
func TestEventIsGivenUpWhenOthersSucceed(t *testing.T) {
	virtual(t, func(h *harness) {
		party, bad, good := h.add("crm"), h.open(), h.open()
		h.answer(func(r request) webhook.Answer {
			if r.account == bad && r.version == 2 {
				return failed(r)
			}
			return delivered(r)
		})
		h.start()
		h.change(bad, 2)
		for range 100 {
			pass(time.Hour)
			h.change(good, 1)
		}
		pass(time.Second)
		tries := 0
		var last time.Time
		for _, r := range h.requests() {
			if r.account == bad && r.version == 2 {
				tries, last = tries+1, r.at
			} else if r.account == bad && !r.at.Equal(last) {
				t.Errorf("version 3 was sent at %s, version 2 was given up at %s", r.at, last)
			}
		}
		// Each wait is cut short once at most, which does not use up the schedule.
		if tries <= 10 || tries > 20 {
			t.Errorf("%d tries of the bad event", tries)
		}
		outcomes := h.outcomes(Filter{Party: party, Account: bad, Limit: 2})
		if fmt.Sprint(outcomes) != "[failed delivered]" {
			t.Errorf("outcomes %s", outcomes)
		}
		if p := h.party(party); p.State != events.ThirdPartyActive {
			t.Errorf("third party is %s", p.State)
		}
	})
}

func TestShorterScheduleAndItsChecks(t *testing.T) {
	virtual(t, func(h *harness) {
		h.cfg.Schedule = []time.Duration{time.Minute, time.Hour}
		party, account := h.add("crm"), h.open()
		h.answer(failed)
		h.start()
		began := time.Now()
		h.change(account, 1)
		pass(3 * time.Hour)
		got := h.requests()
		if len(got) != 2 || got[0].at.Sub(began) != time.Minute || got[1].at.Sub(got[0].at) < 54*time.Minute {
			t.Errorf("tries %v after %s", got, began)
		}
		if p := h.party(party); p.State != events.ThirdPartyFailed {
			t.Errorf("third party is %s", p.State)
		}
	})
	for _, wrong := range [][]time.Duration{{}, {-time.Second}, {0, 169 * time.Hour}} {
		if err := CheckSchedule(wrong); err == nil {
			t.Errorf("%v is taken", wrong)
		}
	}
}

func TestGoneDisablesAtOnce(t *testing.T) {
	virtual(t, func(h *harness) {
		party, account := h.add("crm"), h.open()
		h.answer(always(webhook.Answer{Verdict: webhook.Gone, Status: 410}))
		h.start()
		h.change(account, 3)
		pass(4 * day)
		if got := h.versionsOf(account); got != "[2]" {
			t.Errorf("%s were sent", got)
		}
		if p := h.party(party); p.State != events.ThirdPartyFailed || p.Reason != events.DisabledGone {
			t.Errorf("third party is %s, %s", p.State, p.Reason)
		}
		h.restart()
		pass(day)
		h.requests()
		h.answer(delivered)
		h.happen(party, events.ThirdPartyResumed{})
		pass(time.Second)
		if got := h.versionsOf(account); got != "[2 3 4]" {
			t.Errorf("after it was resumed %s were sent", got)
		}
	})
}

func TestAbortedAndSkippedEventsAreDone(t *testing.T) {
	for outcome, a := range map[string]webhook.Answer{
		OutcomeAborted: {Verdict: webhook.Aborted, Status: 400},
		OutcomeSkipped: {Verdict: webhook.Skipped},
	} {
		virtual(t, func(h *harness) {
			party, account := h.add("crm"), h.open()
			h.answer(func(r request) webhook.Answer {
				if r.version == 2 {
					return a
				}
				return delivered(r)
			})
			h.start()
			h.change(account, 2)
			pass(day)
			if got := h.versionsOf(account); got != "[2 3]" {
				t.Errorf("%s were sent", got)
			}
			if got := h.outcomes(Filter{Party: party}); !slices.Equal(got, []string{outcome, OutcomeDelivered}) {
				t.Errorf("outcomes %s", got)
			}
		})
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	for name, test := range map[string]struct {
		answer  webhook.Answer
		holdAll bool // whether other accounts wait too
	}{
		"429":         {webhook.Answer{Verdict: webhook.Slow, Status: 429, RetryAfter: time.Hour}, true},
		"503":         {webhook.Answer{Verdict: webhook.Failed, Status: 503, RetryAfter: time.Hour}, true},
		"another one": {webhook.Answer{Verdict: webhook.Failed, Status: 500, RetryAfter: time.Hour}, false},
	} {
		virtual(t, func(h *harness) {
			h.add("crm")
			account, other := h.open(), h.open()
			h.answer(always(test.answer))
			h.start()
			began := time.Now()
			h.change(account, 1)
			pass(time.Second)
			h.answer(failed) // a success would hasten
			h.change(other, 1)
			pass(90 * time.Minute)
			all := h.requests()
			second := slices.IndexFunc(all[1:], func(r request) bool { return r.account == account }) + 1
			if second == 0 || all[second].at.Sub(began) < time.Hour {
				t.Errorf("%s: tries %v", name, all)
			}
			first := slices.IndexFunc(all, func(r request) bool { return r.account == other })
			if held := all[first].at.Sub(began) >= time.Hour; held != test.holdAll {
				t.Errorf("%s: the other account was held: %v", name, held)
			}
		})
	}
}
