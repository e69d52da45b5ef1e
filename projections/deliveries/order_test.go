package deliveries

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/projections/webhook"
)

// What the ledger has as settled is not sent again when the log is read once
// more, as after a crash before the position was recorded.
func TestSettledEventsAreNotSentAgainAfterACrash(t *testing.T) {
	virtual(t, func(h *house) {
		party, account := h.add("crm"), h.open()
		h.start()
		h.change(account, 3)
		pass(2 * time.Second)
		if got := h.versionsOf(account); got != "[2 3 4]" {
			t.Fatalf("%s were sent", got)
		}
		h.stop()
		h.forgetPosition(party)
		h.requests()
		h.start()
		pass(time.Second)
		h.change(account, 1)
		pass(time.Second)
		if got := h.versionsOf(account); got != "[5]" {
			t.Errorf("after the crash %s were sent", got)
		}
	})
}

// The same when the events still are in memory.
func TestSettledEventsAreNotSentAgainFromMemory(t *testing.T) {
	virtual(t, func(h *house) {
		h.start()
		pass(time.Second)
		party, account := h.add("crm"), h.open()
		from := h.change(account, 3)
		pass(time.Second)
		h.happen(party, events.ThirdPartyPaused{})
		pass(time.Second)
		h.requests()
		h.must(h.ledger.SetPosition(context.Background(), party, from-3))
		h.happen(party, events.ThirdPartyResumed{})
		h.change(account, 1)
		pass(time.Second)
		if got := h.versionsOf(account); got != "[5]" {
			t.Errorf("%s were sent", got)
		}
	})
}

// forgetPosition leaves the ledger as a crash does that came right after the
// last attempt was settled.
func (h *house) forgetPosition(party ulid.ULID) {
	h.t.Helper()
	ledger, err := OpenLedger(context.Background(), LedgerConfig{Path: h.path, Log: h.log, Keys: h.keys})
	h.must(err)
	h.must(ledger.SetPosition(context.Background(), party, 1))
	h.must(ledger.Close())
}

// Only when what was sent is durably settled is the account's next event sent.
func TestNextEventWaitsForTheLedger(t *testing.T) {
	virtual(t, func(h *house) {
		party, account := h.add("crm"), h.open()
		h.answer(func(r request) webhook.Answer {
			lane, _, err := h.ledger.LaneOf(context.Background(), party, account)
			if err != nil || r.version > 2 && lane.Version != r.version-1 {
				t.Errorf("version %d was sent when %d was settled (%v)", r.version, lane.Version, err)
			}
			return delivered(r)
		})
		h.start()
		h.change(account, 100)
		pass(time.Second)
		if n := len(h.requests()); n != 100 {
			t.Errorf("%d requests", n)
		}
	})
}

// An attempt under way keeps the position before its event, however many others
// are settled.
func TestPositionStaysBeforeWhatIsUnderWay(t *testing.T) {
	virtual(t, func(h *house) {
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
		position, _, err := h.ledger.Position(context.Background(), party)
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
	virtual(t, func(h *house) {
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
		position, _, err := h.ledger.Position(context.Background(), party)
		h.must(err)
		if position != held-1 {
			t.Errorf("position is %d while the event at %d is under way", position, held)
		}
	})
}

func TestPausedThirdPartyGoesOnWhereItWas(t *testing.T) {
	for name, between := range map[string]func(h *house){
		"while konto runs":  func(*house) {},
		"and a new start":   func(h *house) { h.restart() },
		"and a lost ledger": func(h *house) { h.stop(); h.must(os.Remove(h.path)); h.start() },
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(h *house) {
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

// Lanes that wait are tried when a third party is resumed, and when it takes
// something again, not only when the schedule says.
func TestWaitingLanesAreHastened(t *testing.T) {
	for name, recover := range map[string]func(h *house, party, other ulid.ULID){
		"by a success": func(h *house, _, other ulid.ULID) { h.change(other, 1) },
		"when resumed": func(h *house, party, _ ulid.ULID) {
			h.happen(party, events.ThirdPartyPaused{})
			pass(time.Second)
			h.happen(party, events.ThirdPartyResumed{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(h *house) {
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
				if s := h.status(party); s.Lanes != 0 || s.Lag != 0 {
					t.Errorf("status is %+v", s)
				}
			})
		})
	}
}

// The schedule goes on over a restart instead of beginning anew.
func TestScheduleSurvivesARestart(t *testing.T) {
	virtual(t, func(h *house) {
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

func TestOpenLanesAreBounded(t *testing.T) {
	virtual(t, func(h *house) {
		h.cfg.Lanes = 8
		party := h.add("crm")
		h.answer(failed)
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
		if s := h.status(party); s.Lanes != 8 || len(tried) != 8 {
			t.Errorf("%d lanes, %d accounts were tried", s.Lanes, len(tried))
		}
		h.answer(delivered)
		pass(day)
		for _, id := range all {
			if got := h.versionsOf(id); got != "[2 3]" {
				t.Errorf("%s were sent", got)
			}
		}
		if s := h.status(party); s.Lanes != 0 || s.Lag > 1 { // its own checkpoint is being read
			t.Errorf("status is %+v", s)
		}
	})
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

// A page of the log that the bound on lanes interrupts is not read again.
func TestLogIsReadOnceByThoseWhoAreBehind(t *testing.T) {
	virtual(t, func(h *house) {
		log := &counted{Log: h.log}
		h.log, h.store = log, eventstore.NewStore(log, h.keys)
		h.cfg.Lanes = 2
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
func TestHotAccountIsReadOnce(t *testing.T) {
	const n = 3000
	virtual(t, func(h *house) {
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
		if records, calls := log.records.Load(), log.calls.Load(); records > n+200 || calls > 2*n/pageSize {
			t.Errorf("%d records were read in %d calls", records, calls)
		}
	})
}

// Restarts and crashes at any moment, with an endpoint that fails at random,
// lose nothing and put nothing before what was sent earlier: only the last event
// of an account is ever repeated.
func TestOrderHoldsOverCrashesAtAnyMoment(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			virtual(t, func(h *house) { crashes(h, rand.New(rand.NewPCG(seed, 4))) })
		})
	}
}

func crashes(h *house, random *rand.Rand) {
	h.cfg.Lanes = 12
	h.add("crm")
	accounts := make([]ulid.ULID, 20)
	for i := range accounts {
		accounts[i] = h.open()
	}
	var lottery atomic.Uint64
	lottery.Store(random.Uint64())
	h.answer(func(r request) webhook.Answer {
		n := lottery.Add(0x9e3779b97f4a7c15)
		time.Sleep(time.Duration(n>>32%300) * time.Millisecond)
		if n>>60 < 6 {
			return failed(r)
		}
		return delivered(r)
	})
	h.start()
	for range 40 {
		for range random.IntN(10) {
			h.change(accounts[random.IntN(len(accounts))], 1+random.IntN(3))
		}
		pass(time.Duration(random.IntN(1500)) * time.Millisecond)
		switch random.IntN(6) {
		case 0:
			h.crash()
		case 1:
			h.restart()
		}
	}
	h.answer(delivered)
	pass(day)
	check(h, accounts)
}

// crash goes on with the ledger as it is at this moment. Whatever deliveries do
// from now on to end in order is lost.
func (h *house) crash() {
	h.t.Helper()
	synctest.Wait() // so nobody writes
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(h.path + suffix)
		h.must(err)
		h.must(os.WriteFile(h.path+".copy"+suffix, data, 0o600))
	}
	h.stop()
	h.path += ".copy"
	h.start()
}

func check(h *house, accounts []ulid.ULID) {
	h.t.Helper()
	last, ids := map[ulid.ULID]uint64{}, map[string]ulid.ULID{}
	for _, r := range h.requests() {
		was := max(last[r.account], 1)
		if r.version != was && r.version != was+1 {
			h.t.Errorf("version %d of %s follows version %d", r.version, r.account, was)
		}
		last[r.account] = r.version
		key := fmt.Sprint(r.account, r.version)
		if id, ok := ids[key]; ok && id != r.event {
			h.t.Errorf("%s has ids %s and %s", key, id, r.event)
		}
		ids[key] = r.event
	}
	for _, a := range accounts {
		if want := h.versions[a]; want > 1 && last[a] != want {
			h.t.Errorf("account %s came to version %d of %d", a, last[a], want)
		}
	}
}
