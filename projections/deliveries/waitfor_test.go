package deliveries

import (
	"testing"
	"time"

	"konto/events"
)

// No event is sent that comes right after WaitFor returned.
func TestPauseIsObeyedOnceWaitForReturns(t *testing.T) {
	virtual(t, func(h *harness) {
		party, account := h.add("crm"), h.open()
		h.start()
		pass(time.Second)
		for range 20 {
			h.happen(party, events.ThirdPartyPaused{})
			h.waitFor()
			if state := h.status(party).State; state != events.ThirdPartyHeld {
				t.Fatalf("it is %s", state)
			}
			h.change(account, 1)
			pass(time.Second)
			if n := len(h.requests()); n != 0 {
				t.Fatalf("%d requests", n)
			}
			h.happen(party, events.ThirdPartyResumed{})
			h.waitFor()
			if state := h.status(party).State; state != events.ThirdPartyActive {
				t.Fatalf("it is %s", state)
			}
			pass(time.Second)
			h.requests()
		}
		h.stop()
		h.happen(party, events.ThirdPartyPaused{})
		h.waitFor() // which returns at once, because nothing runs
	})
}

// waitFor waits until deliveries obey the last event.
func (h *harness) waitFor() {
	h.t.Helper()
	head, err := h.store.Head(h.t.Context())
	h.must(err)
	h.must(h.d.WaitFor(h.t.Context(), head))
}
