package deliveries

import (
	"context"
	"testing"
	"time"

	"konto/events"
	"konto/eventstore/keyring"
	"konto/projections/webhook"
)

// Events may have waited for a third party for days when their account's key is destroyed.
// They are not sent, and the erasure is.
func TestWaitingEventsAreSkippedWhenTheirKeyIsDestroyed(t *testing.T) {
	for name, ended := range map[string]bool{"erased": true, "not yet": false} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(h *harness) {
				party, account := h.add("crm"), h.open()
				h.answer(failed)
				h.start()
				h.change(account, 3)
				pass(time.Minute)
				if ended {
					h.append(events.AccountStream(account), account, events.AccountErased{})
				}
				h.must(h.keys.(*keyring.Keyring).Destroy(context.Background(), events.AccountStream(account)))
				h.requests()
				h.answer(func(r request) webhook.Answer {
					if r.name != "AccountErased" {
						t.Errorf("%s was sent", r.name)
					}
					return delivered(r)
				})
				pass(100 * time.Hour)
				if got, want := h.versionsOf(account), map[bool]string{true: "[5]", false: "[]"}[ended]; got != want {
					t.Errorf("%s were sent", got)
				}
				if s := h.status(party); s.Error != "" || s.Accounts != 0 {
					t.Errorf("status is %+v", s)
				}
			})
		})
	}
}
