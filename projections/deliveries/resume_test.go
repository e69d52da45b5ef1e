package deliveries

import (
	"os"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

func TestPausedThirdPartyGoesOnWhereItWas(t *testing.T) {
	for name, between := range map[string]func(h *harness){
		"while konto runs": func(*harness) {},
		"and a new start":  func(h *harness) { h.restart() },
		"and a lost store": func(h *harness) { h.stop(); h.must(os.Remove(h.path)); h.start() },
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(h *harness) {
				party, account := h.add("crm"), h.open()
				h.start()
				h.change(account, 2)
				pass(time.Second)
				h.happen(party, events.ThirdPartyPaused{})
				pass(time.Second)
				h.requests()
				h.change(account, 3)
				for range 3 {
					h.change(h.open(), 1)
				}
				pass(day)
				between(h)
				pass(day)
				if got := h.requests(); len(got) != 0 {
					t.Errorf("%d requests while it was paused", len(got))
				}
				h.happen(party, events.ThirdPartyResumed{})
				pass(time.Second)
				if got := h.versionsOf(account); got != "[4 5 6]" {
					t.Errorf("%s were sent", got)
				}
				if n := len(h.requests()); n != 6 {
					t.Errorf("%d requests", n)
				}
			})
		})
	}
}

// Deliveries that wait are tried when a third party is resumed, and when it accepts an event
// again, not only when the schedule says.
func TestWaitingDeliveriesAreHastened(t *testing.T) {
	for name, recover := range map[string]func(h *harness, party, other ulid.ULID){
		"by a success": func(h *harness, _, other ulid.ULID) { h.change(other, 1) },
		"when resumed": func(h *harness, party, _ ulid.ULID) {
			h.happen(party, events.ThirdPartyPaused{})
			pass(time.Second)
			h.happen(party, events.ThirdPartyResumed{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(h *harness) {
				party, other := h.add("crm"), h.open()
				h.answer(failed)
				h.start()
				var waiting []ulid.ULID
				for range 20 {
					id := h.open()
					waiting = append(waiting, id)
					h.change(id, 2)
				}
				pass(10 * time.Hour) // the next try is hours away
				h.requests()
				h.answer(delivered)
				recover(h, party, other)
				pass(time.Second)
				for _, id := range waiting {
					if got := h.versionsOf(id); got != "[2 3]" {
						t.Errorf("%s were sent", got)
					}
				}
				if s := h.status(party); s.Accounts != 0 || s.Lag != 0 {
					t.Errorf("status is %+v", s)
				}
			})
		})
	}
}

// The schedule goes on over a restart instead of beginning again.
func TestScheduleSurvivesARestart(t *testing.T) {
	virtual(t, func(h *harness) {
		h.add("crm")
		account := h.open()
		h.answer(failed)
		h.start()
		began := time.Now()
		h.change(account, 1)
		pass(3 * time.Hour) // tries 1 to 5
		h.restart()
		pass(time.Minute)
		if n := len(h.requests()); n != 5 {
			t.Fatalf("%d tries", n)
		}
		pass(7 * time.Hour)
		if got := h.requests(); len(got) != 1 || got[0].at.Sub(began) < 6*time.Hour {
			t.Errorf("tries %v", got)
		}
	})
}
