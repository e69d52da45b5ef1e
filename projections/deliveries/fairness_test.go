package deliveries

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/projections/webhook"
)

// However many accounts an endpoint refuses, the events of the others are sent, and the third
// party is not disabled.
func TestRefusedAccountsDoNotStopTheOthers(t *testing.T) {
	virtual(t, func(h *harness) {
		h.cfg.Untried = 8
		party, bad := h.add("crm"), map[ulid.ULID]bool{}
		h.answer(func(r request) webhook.Answer {
			if h.mu.Lock(); bad[r.account] {
				h.mu.Unlock()
				return failed(r)
			}
			h.mu.Unlock()
			return delivered(r)
		})
		h.start()
		for range 40 {
			id := h.open()
			h.mu.Lock()
			bad[id] = true
			h.mu.Unlock()
			h.change(id, 1)
		}
		pass(time.Hour)
		h.requests()
		well := h.open()
		for range 100 {
			h.change(well, 1)
			pass(time.Hour)
		}
		n := 0
		for _, r := range h.requests() {
			if r.account == well {
				n++
			}
		}
		if p := h.party(party); n != 100 || p.State != events.ThirdPartyActive {
			t.Errorf("%d of 100 were sent, the third party is %s", n, p.State)
		}
		if got := h.outcomes(Filter{Party: party, Outcome: OutcomeFailed}); len(got) != 40 {
			t.Errorf("%d events were given up", len(got))
		}
	})
}

// A new event of an account that waits does not cut its wait short.
func TestNewEventDoesNotShortenTheWait(t *testing.T) {
	virtual(t, func(h *harness) {
		h.add("crm")
		account := h.open()
		h.answer(failed)
		h.start()
		h.change(account, 1)
		pass(time.Minute) // tries 1 and 2
		h.requests()
		h.change(account, 3)
		pass(2 * time.Minute)
		if got := h.versionsOf(account); got != "[]" {
			t.Errorf("%s were sent", got)
		}
		h.answer(delivered)
		pass(5 * time.Minute)
		if got := h.versionsOf(account); got != "[2 3 4 5]" {
			t.Errorf("%s were sent", got)
		}
	})
}

// The memory that a hanging endpoint costs does not grow with the events.
func TestHangingThirdPartiesHoldFewEvents(t *testing.T) {
	const parties, accounts, each = 20, 100, 33
	virtual(t, func(h *harness) {
		for i := range parties {
			h.add(fmt.Sprint("hanging-", i))
		}
		h.answer(func(r request) webhook.Answer {
			<-r.ctx.Done()
			return webhook.Answer{}
		})
		var all []ulid.ULID
		for range accounts {
			all = append(all, h.open())
		}
		h.start()
		pass(time.Second)
		for _, id := range all {
			h.change(id, 1)
		}
		pass(time.Second)
		before := inUse()
		for _, id := range all {
			h.change(id, each-1)
		}
		pass(time.Second)
		// The log in memory and the feed's tail have each event once.
		if grown := inUse() - before; grown > parties*accounts*each*100 {
			t.Errorf("%d kB more are in use", grown/1024)
		}
	})
}

func inUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Over all third parties no more requests are under way than may be, and each
// gets its share, however few there are.
func TestRequestsAreBoundedOverAllThirdParties(t *testing.T) {
	for name, test := range map[string]struct{ most, parties, hanging int }{
		"more than third parties": {20, 10, 9},
		"fewer":                   {3, 10, 2},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(h *harness) {
				h.cfg.Requests = test.most
				inFlight, most := 0, 0
				hangs := map[string]bool{}
				for i := range test.parties {
					party := fmt.Sprint("crm-", i)
					h.add(party)
					hangs[party] = i < test.hanging
				}
				h.answer(func(r request) webhook.Answer {
					h.mu.Lock()
					inFlight++
					most = max(most, inFlight)
					h.mu.Unlock()
					if hangs[r.party] {
						time.Sleep(15 * time.Second)
					} else {
						time.Sleep(time.Millisecond)
					}
					h.mu.Lock()
					defer h.mu.Unlock()
					inFlight--
					return delivered(r)
				})
				h.start()
				for range 100 {
					h.change(h.open(), 1)
				}
				pass(10 * time.Second)
				told := map[string]int{}
				for _, r := range h.requests() {
					told[r.party]++
				}
				h.mu.Lock()
				defer h.mu.Unlock()
				if most > test.most {
					t.Errorf("%d requests at a time", most)
				}
				for party, hangs := range hangs {
					if !hangs && told[party] != 100 {
						t.Errorf("%s got %d requests", party, told[party])
					}
				}
			})
		})
	}
}

// A request that konto cannot make says nothing about the third party. It is tried until it
// succeeds, and the status has an error.
func TestUnsentRequestsDoNotCountInTheSchedule(t *testing.T) {
	virtual(t, func(h *harness) {
		h.cfg.Schedule = []time.Duration{0, time.Second}
		party, account := h.add("crm"), h.open()
		h.answer(always(webhook.Answer{Verdict: webhook.Unsent, Problem: "too many files"}))
		h.start()
		h.change(account, 2)
		pass(time.Minute)
		if s := h.status(party); s.State != events.ThirdPartyActive || s.Error != "request could not be made: too many files" {
			t.Errorf("status is %+v", s)
		}
		if n := len(h.outcomes(Filter{})); n != 0 {
			t.Errorf("%d attempts are in the delivery log", n)
		}
		if n := len(h.requests()); n < 10 || n > 13 {
			t.Errorf("%d tries in a minute", n)
		}
		h.answer(delivered)
		pass(troubleDelay)
		if got := h.versionsOf(account); got != "[2 3]" {
			t.Errorf("%s were sent", got)
		}
		if s := h.status(party); s.Error != "" {
			t.Errorf("status is %+v", s)
		}
	})
}

// A clock that was years ahead for a moment parks nothing for years.
func TestTimesOfAWrongClockAreBounded(t *testing.T) {
	virtual(t, func(h *harness) {
		party, account := h.add("crm"), h.open()
		h.answer(failed)
		h.start()
		h.change(account, 1)
		pass(time.Second)
		ahead := time.Now().Add(10 * 365 * 24 * time.Hour)
		h.stop()
		db, err := OpenFile(context.Background(), FileConfig{Path: h.path, Log: h.log, Keys: h.keys})
		h.must(err)
		waiting, err := db.Waiting(context.Background(), party)
		h.must(err)
		waiting[0].Since, waiting[0].Next = ahead, ahead
		other := Attempt{Party: party, Account: h.open(), Event: ulid.Make(), At: ahead, Outcome: OutcomeDelivered}
		h.must(db.Save(context.Background(), party, &waiting[0], &other))
		h.must(db.Close())
		h.requests()
		h.start()
		if pass(2 * day); len(h.requests()) == 0 {
			t.Error("nothing was tried in two days")
		}
		pass(5 * day)
		h.change(account, 1)
		h.change(h.open(), 1)
		pass(6 * day)
		if p := h.party(party); p.State != events.ThirdPartyFailed {
			t.Errorf("third party is %s although it took nothing for weeks", p.State)
		}
	})
}
