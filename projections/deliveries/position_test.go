package deliveries

import (
	"context"
	"testing"
	"time"

	"konto/projections/webhook"
)

// A request under way holds the position before its event, however many others are done.
func TestPositionStaysBeforeWhatIsUnderWay(t *testing.T) {
	virtual(t, func(h *harness) {
		party, slow, quick := h.add("crm"), h.open(), h.open()
		h.answer(func(r request) webhook.Answer {
			if r.account == slow {
				select {
				case <-time.After(time.Hour):
				case <-r.ctx.Done():
					return webhook.Answer{Problem: "interrupted"}
				}
			}
			return delivered(r)
		})
		h.start()
		held := h.change(slow, 1)
		h.change(quick, 50)
		pass(time.Minute)
		position, _, err := h.db.Position(context.Background(), party)
		h.must(err)
		if position != held-1 {
			t.Errorf("position is %d while the event at %d is under way", position, held)
		}
		h.stop() // cuts the attempt off
		h.requests()
		h.answer(delivered)
		h.start()
		pass(time.Second)
		if got := h.versionsOf(slow); got != "[2]" {
			t.Errorf("after the restart %s were sent", got)
		}
		if got := h.versionsOf(quick); got != "[]" {
			t.Errorf("after the restart %s were sent again", got)
		}
	})
}

// So does one that came while an earlier event of its account was being sent.
func TestPositionStaysBeforeWhatCameDuringAnAttempt(t *testing.T) {
	virtual(t, func(h *harness) {
		party, account, quick := h.add("crm"), h.open(), h.open()
		h.answer(func(r request) webhook.Answer {
			switch {
			case r.account == account && r.version == 2:
				time.Sleep(time.Second)
			case r.account == account:
				<-r.ctx.Done()
				return webhook.Answer{Problem: "interrupted"}
			}
			return delivered(r)
		})
		h.start()
		h.change(account, 1)
		pass(time.Second / 2)
		held := h.change(account, 1)
		h.change(quick, 5)
		pass(time.Minute)
		position, _, err := h.db.Position(context.Background(), party)
		h.must(err)
		if position != held-1 {
			t.Errorf("position is %d while the event at %d is under way", position, held)
		}
	})
}

// Nor does it pass what comes during a retry: the row waits until then, and is done right after.
func TestPositionStaysBeforeWhatCameDuringARetry(t *testing.T) {
	virtual(t, func(h *harness) {
		party, account, quick := h.add("crm"), h.open(), h.open()
		h.answer(failed)
		h.start()
		h.change(account, 1)
		pass(time.Second)
		h.answer(func(r request) webhook.Answer {
			if r.account == account {
				time.Sleep(10 * time.Second)
			}
			return delivered(r)
		})
		pass(6 * time.Second)
		held := h.change(account, 1)
		h.change(quick, 5)
		pass(3 * time.Second)
		position, _, err := h.db.Position(context.Background(), party)
		h.must(err)
		if position >= held {
			t.Errorf("position is %d while the retry before the event at %d is under way", position, held)
		}
		pass(time.Minute)
		if got := h.versionsOf(account); got != "[2 2 3]" {
			t.Errorf("%s were sent", got)
		}
	})
}
