package deliveries

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"konto/events"
	"konto/eventstore"
	"konto/projections/webhook"
)

func TestThirdPartiesDoNotSlowOneAnother(t *testing.T) {
	virtual(t, func(h *harness) {
		hanging, well := h.add("hanging"), h.add("well")
		h.answer(func(r request) webhook.Answer {
			if r.party == "hanging" {
				<-r.ctx.Done()
				return webhook.Answer{Problem: "interrupted"}
			}
			return delivered(r)
		})
		h.start()
		for range 500 {
			h.change(h.open(), 2)
		}
		pass(50 * time.Millisecond) // followers linger
		n := 0
		for _, r := range h.requests() {
			if r.party == "well" {
				n++
			}
		}
		if s := h.status(well); n != 1000 || s.Accounts != 0 {
			t.Errorf("%d requests, status %+v", n, s)
		}
		if s := h.status(hanging); s.InFlight != 16 {
			t.Errorf("status %+v", s)
		}
		began := time.Now()
		h.stop()
		if took := time.Since(began); took != endTime {
			t.Errorf("the end took %s", took)
		}
	})
}

// An event with which konto itself fails is tried again until it succeeds, and holds up only
// its account.
func TestPanicHoldsUpItsAccountAlone(t *testing.T) {
	virtual(t, func(h *harness) {
		party, bad, good := h.add("crm"), h.open(), h.open()
		h.answer(func(r request) webhook.Answer {
			if r.account == bad && r.version == 2 {
				panic("anna@example.com")
			}
			return delivered(r)
		})
		h.start()
		h.change(bad, 2)
		pass(time.Minute)
		h.change(good, 1)
		pass(time.Second)
		if got := h.versionsOf(good); got != "[2]" {
			t.Errorf("%s of the other account were sent", got)
		}
		if s := h.status(party); s.Error == "" || s.State != events.ThirdPartyActive {
			t.Errorf("status is %+v", s)
		}
		h.requests()
		h.answer(delivered)
		pass(time.Minute)
		if got := h.versionsOf(bad); got != "[2 3]" {
			t.Errorf("%s were sent", got)
		}
		h.stop()
		if text := h.logged.String(); strings.Contains(text, "anna@") || !strings.Contains(text, "delivery panicked") {
			t.Errorf("log is %s", text)
		}
	})
}

func TestThirdPartiesAreAddedAndRemovedWhileRunning(t *testing.T) {
	virtual(t, func(h *harness) {
		account := h.open()
		h.change(account, 1) // before anybody asked for it
		h.start()
		pass(time.Second)
		party := h.add("crm")
		pass(time.Second)
		h.change(account, 1)
		pass(time.Second)
		if got := h.versionsOf(account); got != "[3]" {
			t.Errorf("%s were sent", got)
		}
		h.happen(party, events.ThirdPartyRemoved{})
		pass(time.Second)
		h.change(account, 1)
		pass(time.Minute)
		if got := h.versionsOf(account); got != "[3]" {
			t.Errorf("%s were sent", got)
		}
		known, err := h.db.Parties(context.Background())
		h.must(err)
		if len(known) != 0 || len(h.d.Status()) != 0 {
			t.Errorf("the store has %s", known)
		}
	})
}

// A third party that was removed while konto was stopped leaves nothing in the store.
func TestThirdPartyRemovedWhileStoppedIsDeleted(t *testing.T) {
	virtual(t, func(h *harness) {
		party, account := h.add("crm"), h.open()
		h.start()
		h.change(account, 1)
		pass(time.Second)
		h.stop()
		h.happen(party, events.ThirdPartyRemoved{})
		h.start()
		pass(time.Second)
		known, err := h.db.Parties(context.Background())
		h.must(err)
		if len(known) != 0 {
			t.Errorf("the store has %s", known)
		}
	})
}

// Every third party is sent an erasure. Then all rows of the account are deleted.
func TestErasedAccountIsDeletedOnceItsErasureIsSent(t *testing.T) {
	virtual(t, func(h *harness) {
		h.add("crm")
		h.add("erp")
		account, other := h.open(), h.open()
		h.start()
		h.change(account, 1)
		h.change(other, 1)
		h.append(events.AccountStream(account), account, events.AccountErased{})
		pass(3 * time.Second)
		if got := h.requests(); len(got) != 6 {
			t.Errorf("%d requests", len(got))
		}
		for id, want := range map[ulid.ULID]int{account: 0, other: 2} {
			if got := h.outcomes(Filter{Account: id}); len(got) != want {
				t.Errorf("%d attempts are kept instead of %d", len(got), want)
			}
		}
	})
}

func TestRewindSendsAgainInOrder(t *testing.T) {
	for name, running := range map[string]bool{"running": true, "stopped": false} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(h *harness) {
				party, account := h.add("crm"), h.open()
				h.start()
				from := h.change(account, 1)
				h.change(account, 3)
				pass(2 * time.Second)
				h.requests()
				d := h.d
				if !running {
					h.happen(party, events.ThirdPartyPaused{})
					pass(time.Second)
				}
				h.must(d.Rewind(context.Background(), party, from))
				if !running {
					h.happen(party, events.ThirdPartyResumed{})
				}
				pass(time.Second)
				if got := h.versionsOf(account); got != "[3 4 5]" {
					t.Errorf("%s were sent", got)
				}
				if err := d.Rewind(context.Background(), party, 1<<40); !errors.Is(err, ErrNotReached) {
					t.Errorf("to go ahead gives %v", err)
				}
			})
		})
	}
}

func TestRedeliverSendsOnlyEventsThatHadTheirTurn(t *testing.T) {
	virtual(t, func(h *harness) {
		party, account := h.add("crm"), h.open()
		h.answer(func(r request) webhook.Answer {
			if r.version == 3 {
				return failed(r)
			}
			return delivered(r)
		})
		h.start()
		first := h.change(account, 1)
		last := h.change(account, 1)
		pass(time.Second)
		h.requests()
		a, err := h.d.Redeliver(context.Background(), h.party(party), first)
		if err != nil || a.Verdict != webhook.Delivered || h.versionsOf(account) != "[2]" {
			t.Errorf("%+v, %v: sent %s", a, err, h.versionsOf(account))
		}
		attempts, err := h.db.Attempts(context.Background(), Filter{Party: party, Limit: 1})
		if err != nil || attempts[0].Number != 2 || attempts[0].Outcome != OutcomeDelivered {
			t.Errorf("attempts %+v, %v", attempts, err)
		}
		for position, want := range map[uint64]error{last: ErrPending, 0: ErrNoEvent, 1: ErrNoEvent, 1 << 40: ErrNoEvent} {
			if _, err := h.d.Redeliver(context.Background(), h.party(party), position); !errors.Is(err, want) {
				t.Errorf("at position %d: %v", position, err)
			}
		}
	})
}

// lost are keys of which one is gone, for a reason.
type lost struct {
	eventstore.Keys
	stream atomic.Value
	reason error
}

func (l *lost) Cipher(ctx context.Context, stream events.Stream) (cipher.AEAD, error) {
	if l.stream.Load() == stream {
		return nil, fmt.Errorf("%w %s", l.reason, stream)
	}
	return l.Keys.Cipher(ctx, stream)
}

// When an account's key was destroyed, only its erasure is sent; its other events cannot be
// read any more. When a key is missing, nothing is skipped and the status has an error.
func TestEventsAreSkippedOnlyWhenTheirKeyIsDestroyed(t *testing.T) {
	for name, test := range map[string]struct {
		reason error
		erased bool
		want   string
	}{
		"destroyed and erased":                 {eventstore.ErrDestroyed, true, "[5]"},
		"destroyed, in a log from before":      {eventstore.ErrDestroyed, false, "[]"},
		"missing":                              {eventstore.ErrNoKey, false, "[]"},
		"missing although the end is in clear": {eventstore.ErrNoKey, true, "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(h *harness) {
				keys := &lost{Keys: h.keys, reason: test.reason}
				h.keys, h.store = keys, eventstore.NewStore(h.log, keys)
				party, account, other := h.add("crm"), h.open(), h.open()
				h.change(account, 3)
				if test.erased {
					h.append(events.AccountStream(account), account, events.AccountErased{})
				}
				h.change(other, 1)
				keys.stream.Store(events.AccountStream(account))
				h.start()
				pass(time.Minute)
				if got := h.versionsOf(account); got != test.want {
					t.Errorf("%s were sent", got)
				}
				if got := h.versionsOf(other); got != "[2]" {
					t.Errorf("%s of the other account were sent", got)
				}
				well := test.reason == eventstore.ErrDestroyed
				if s := h.status(party); (s.Error == "") != well || (s.Accounts == 0) != well {
					t.Errorf("status is %+v", s)
				}
			})
		})
	}
}

func TestMetricsNameThirdParties(t *testing.T) {
	virtual(t, func(h *harness) {
		registry := prometheus.NewPedanticRegistry()
		h.cfg.Metrics = registry
		h.add("crm")
		held := h.add("erp")
		account := h.open()
		h.happen(held, events.ThirdPartyPaused{})
		h.start()
		pass(time.Second)
		h.change(account, 3)
		pass(time.Second)
		got := gathered(t, registry)
		for name, want := range map[string]float64{
			`konto_third_party_state{active,crm}`:             1,
			`konto_third_party_state{paused,erp}`:             1,
			`konto_third_party_lag_events{crm}`:               0,
			`konto_third_party_lanes{crm}`:                    0,
			`konto_third_party_requests_limit{crm}`:           16,
			`konto_third_party_attempts_total{delivered,crm}`: 3,
		} {
			if value, ok := got[name]; !ok || value != want {
				t.Errorf("%s is %v (%v) in %v", name, value, ok, got)
			}
		}
	})
}

// gathered are the metrics without histograms, by name and values of labels.
func gathered(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			all[f.GetName()+"{"+strings.Join(labels, ",")+"}"] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return all
}
