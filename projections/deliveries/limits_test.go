package deliveries

import (
	"testing"
	"time"

	"konto/projections/webhook"
)

func TestLimiterHalvesOncePerRoundAndRecovers(t *testing.T) {
	p, now := newLimiter(16), time.Now()
	first := p.round
	for range 16 { // answers to what was sent at the full pace
		p.slowed(first, now)
	}
	if p.limit != 8 {
		t.Errorf("limit %d after one round", p.limit)
	}
	for range 5 {
		p.slowed(p.round, now)
	}
	if p.limit != 1 || p.hold.Sub(now) != 2*time.Second {
		t.Errorf("limit %d, hold %s", p.limit, p.hold.Sub(now))
	}
	for range 10 {
		p.slowed(p.round, now)
	}
	if p.hold.Sub(now) != lastRest {
		t.Errorf("holds for %s", p.hold.Sub(now))
	}
	for range 20 {
		p.succeeded()
	}
	if p.limit != 16 {
		t.Errorf("limit %d after successes", p.limit)
	}
}

// A third party that answers 429 above so many requests at a time gets fewer.
func TestSlowThirdPartyGetsFewerRequestsAtATime(t *testing.T) {
	virtual(t, func(h *harness) {
		party := h.add("crm")
		inFlight, most := 0, 0
		h.answer(func(request) webhook.Answer {
			h.mu.Lock()
			inFlight++
			most = max(most, inFlight)
			slow := inFlight > 4
			h.mu.Unlock()
			time.Sleep(time.Second)
			h.mu.Lock()
			defer h.mu.Unlock()
			inFlight--
			if slow {
				return webhook.Answer{Verdict: webhook.Slow, Status: 429}
			}
			return delivered(request{})
		})
		for range 200 {
			h.change(h.open(), 1)
		}
		h.start()
		pass(1500 * time.Millisecond)
		s := h.status(party)
		h.mu.Lock()
		if s.Limit >= 16 || most != 16 {
			t.Errorf("at most %d requests at a time, then a limit of %d", most, s.Limit)
		}
		h.mu.Unlock()
		pass(3 * time.Hour)
		if s := h.status(party); s.Accounts != 0 {
			t.Errorf("%d accounts are left", s.Accounts)
		}
	})
}
