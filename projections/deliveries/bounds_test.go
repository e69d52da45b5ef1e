package deliveries

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/projections/webhook"
)

// Reading stops when too many accounts wait for their first attempt, or for any.
func TestOpenDeliveriesAreBounded(t *testing.T) {
	for name, test := range map[string]struct {
		untried, waiting int
		answer           func(request) webhook.Answer
	}{
		"while it hangs": {8, 50, func(r request) webhook.Answer {
			<-r.ctx.Done()
			return webhook.Answer{}
		}},
		"while it fails": {4, 8, failed},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(h *harness) {
				h.cfg.Untried, h.cfg.Waiting = test.untried, test.waiting
				party := h.add("crm")
				h.answer(test.answer)
				var all []ulid.ULID
				for i := range 100 {
					if i == 50 { // the others are in one page of the log
						h.start()
					}
					id := h.open()
					all = append(all, id)
					h.change(id, 2)
				}
				pass(time.Hour)
				tried := map[ulid.ULID]bool{}
				for _, r := range h.requests() {
					tried[r.account] = true
				}
				if s := h.status(party); s.Accounts != 8 || len(tried) != 8 {
					t.Errorf("%d accounts are open, %d were tried", s.Accounts, len(tried))
				}
				h.answer(delivered)
				h.restart()
				pass(day)
				for _, id := range all {
					if got := h.versionsOf(id); got != "[2 3]" {
						t.Errorf("%s were sent", got)
					}
				}
				if s := h.status(party); s.Accounts != 0 || s.Lag > 1 { // its own checkpoint is being read
					t.Errorf("status is %+v", s)
				}
			})
		})
	}
}

// counted counts what is read.
type counted struct {
	eventstore.Log
	calls, records, pages atomic.Int64
}

func (c *counted) ReadAll(ctx context.Context, after uint64, limit int) ([]eventstore.Record, error) {
	c.pages.Add(1)
	return c.Log.ReadAll(ctx, after, limit)
}

func (c *counted) ReadStream(ctx context.Context, stream events.Stream, after uint64, limit int) ([]eventstore.Record, error) {
	page, err := c.Log.ReadStream(ctx, stream, after, limit)
	c.calls.Add(1)
	c.records.Add(int64(len(page)))
	return page, err
}

// A page of the log that the bound on open deliveries interrupts is not read again.
func TestThirdPartyThatIsBehindReadsTheLogOnce(t *testing.T) {
	virtual(t, func(h *harness) {
		log := &counted{Log: h.log}
		h.log, h.store = log, eventstore.NewStore(log, h.keys)
		h.cfg.Untried = 2
		h.add("crm")
		for range 400 {
			h.change(h.open(), 1)
		}
		h.start()
		pass(time.Minute)
		if got := len(h.requests()); got != 400 {
			t.Errorf("%d requests", got)
		}
		if pages := log.pages.Load(); pages > 10 {
			t.Errorf("%d pages of the log were read", pages)
		}
	})
}

// An account with many events waiting costs work in proportion to them.
func TestHotAccountCostsWorkInProportion(t *testing.T) {
	const n = 3000
	virtual(t, func(h *harness) {
		log := &counted{Log: h.log}
		h.log, h.store = log, eventstore.NewStore(log, h.keys)
		h.add("crm")
		hot, other := h.open(), h.open()
		h.answer(failed)
		h.start()
		h.change(hot, 1)
		pass(time.Minute)
		for range n / 100 {
			h.change(hot, 100)
			pass(time.Second)
		}
		h.requests()
		h.answer(delivered)
		h.change(other, 1)
		pass(time.Minute)
		got := h.requests()
		if len(got) != n+2 {
			t.Errorf("%d requests", len(got))
		}
		if records, calls := log.records.Load(), log.calls.Load(); records > n+200 || calls > n+200 {
			t.Errorf("%d records were read in %d calls", records, calls)
		}
	})
}
