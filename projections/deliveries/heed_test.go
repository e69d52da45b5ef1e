package deliveries

import (
	"testing"
	"time"

	"konto/events"
)

// What happens right after a pause was heeded is held back.
func TestPausesAreInForceOnceTheyAreHeeded(t *testing.T) {
	virtual(t, func(h *house) {
		party, account := h.add("crm"), h.open()
		h.start()
		pass(time.Second)
		for range 20 {
			h.happen(party, events.ThirdPartyPaused{})
			h.heed()
			if state := h.status(party).State; state != events.ThirdPartyHeld {
				t.Fatalf("it is %s", state)
			}
			h.change(account, 1)
			pass(time.Second)
			if n := len(h.requests()); n != 0 {
				t.Fatalf("%d requests", n)
			}
			h.happen(party, events.ThirdPartyResumed{})
			h.heed()
			if state := h.status(party).State; state != events.ThirdPartyActive {
				t.Fatalf("it is %s", state)
			}
			pass(time.Second)
			h.requests()
		}
		h.stop()
		h.happen(party, events.ThirdPartyPaused{})
		h.heed() // for which nothing runs
	})
}

// heed waits until deliveries go by the last event.
func (h *house) heed() {
	h.t.Helper()
	head, err := h.store.Head(h.t.Context())
	h.must(err)
	h.must(h.d.WaitFor(h.t.Context(), head))
}
