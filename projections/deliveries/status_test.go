package deliveries

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"konto/events"
	"konto/eventstore"
	"konto/projections/webhook"
)

// After a rewind the lag shows how much has to be sent again.
func TestRewindShowsInTheLag(t *testing.T) {
	virtual(t, func(h *harness) {
		party, account := h.add("crm"), h.open()
		h.start()
		from := h.change(account, 1)
		h.change(account, 50)
		pass(2 * time.Second)
		h.happen(party, events.ThirdPartyPaused{})
		pass(time.Second)
		if p := h.party(party); p.Checkpoint <= from {
			t.Fatalf("the checkpoint is at %d", p.Checkpoint)
		}
		h.answer(func(r request) webhook.Answer {
			<-r.ctx.Done()
			return webhook.Answer{}
		})
		h.must(h.d.Rewind(context.Background(), party, from))
		if s := h.status(party); s.Position != from || s.Lag < 50 {
			t.Errorf("status is %+v", s)
		}
		h.happen(party, events.ThirdPartyResumed{})
		pass(time.Second)
		if s := h.status(party); s.Position != from || s.Lag < 50 {
			t.Errorf("status is %+v", s)
		}
	})
}

func TestMetricsOfARemovedThirdPartyStayDeleted(t *testing.T) {
	virtual(t, func(h *harness) {
		registry := prometheus.NewPedanticRegistry()
		h.cfg.Metrics = registry
		party, account := h.add("crm"), h.open()
		h.answer(func(r request) webhook.Answer {
			time.Sleep(2 * time.Second)
			return delivered(r)
		})
		h.start()
		h.change(account, 1)
		pass(time.Second)
		h.happen(party, events.ThirdPartyRemoved{})
		pass(time.Minute)
		for name := range gathered(t, registry) {
			if strings.HasPrefix(name, "konto_third_party_") && !strings.Contains(name, "watermill") {
				t.Errorf("%s is still there", name)
			}
		}
	})
}

// troubled is a log whose end cannot be found at first.
type troubled struct {
	eventstore.Log
	left atomic.Int64
}

func (l *troubled) Head(ctx context.Context) (uint64, error) {
	if l.left.Add(-1) >= 0 {
		return 0, errors.New("disk is busy")
	}
	return l.Log.Head(ctx)
}

func TestRunSurvivesALogThatFails(t *testing.T) {
	virtual(t, func(h *harness) {
		log := &troubled{Log: h.log}
		h.log, h.store = log, eventstore.NewStore(log, h.keys)
		h.add("crm")
		account := h.open()
		log.left.Store(5)
		h.start()
		h.change(account, 1)
		pass(time.Minute)
		if got := h.versionsOf(account); got != "[2]" {
			t.Errorf("%s were sent", got)
		}
	})
}

// An excerpt that was damaged is no reason to send nothing.
func TestDamagedExcerptDoesNotStopDeliveries(t *testing.T) {
	virtual(t, func(h *harness) {
		h.add("crm")
		account := h.open()
		h.answer(always(webhook.Answer{Verdict: webhook.Delivered, Status: 200, Excerpt: []byte("thanks")}))
		h.start()
		h.change(account, 1)
		pass(2 * time.Second)
		_, err := h.db.(*File).writer.Exec("UPDATE attempt SET excerpt = x'00112233445566778899'")
		h.must(err)
		h.restart()
		h.requests()
		h.change(account, 1)
		pass(time.Second)
		if got := h.versionsOf(account); got != "[3]" {
			t.Errorf("%s were sent", got)
		}
	})
}
