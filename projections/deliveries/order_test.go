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
	"konto/projections/webhook"
)

// What the store has as done is not sent again when the log is read again, as after a crash
// before the position was stored.
func TestDoneEventsAreNotSentAgainAfterACrash(t *testing.T) {
	virtual(t, func(h *harness) {
		party, account := h.add("crm"), h.open()
		h.start()
		h.change(account, 3)
		pass(2 * time.Second)
		if got := h.versionsOf(account); got != "[2 3 4]" {
			t.Fatalf("%s were sent", got)
		}
		h.stop()
		h.loseProgress(party)
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
func TestDoneEventsAreNotSentAgainFromMemory(t *testing.T) {
	virtual(t, func(h *harness) {
		h.start()
		pass(time.Second)
		party, account := h.add("crm"), h.open()
		from := h.change(account, 3)
		pass(time.Second)
		h.happen(party, events.ThirdPartyPaused{})
		pass(time.Second)
		h.requests()
		h.must(h.db.SetPosition(context.Background(), party, from-3))
		h.happen(party, events.ThirdPartyResumed{})
		h.change(account, 1)
		pass(time.Second)
		if got := h.versionsOf(account); got != "[5]" {
			t.Errorf("%s were sent", got)
		}
	})
}

// loseProgress leaves the store as after a crash right after the last result was saved.
func (h *harness) loseProgress(party ulid.ULID) {
	h.t.Helper()
	db, err := OpenFile(context.Background(), FileConfig{Path: h.path, Log: h.log, Keys: h.keys})
	h.must(err)
	h.must(db.SetPosition(context.Background(), party, 1))
	h.must(db.Close())
}

// An account's next event is sent only when the result of the last one is stored.
func TestNextEventWaitsUntilTheResultIsStored(t *testing.T) {
	virtual(t, func(h *harness) {
		party, account := h.add("crm"), h.open()
		h.answer(func(r request) webhook.Answer {
			row, _, err := h.db.Delivery(context.Background(), party, account)
			if err != nil || r.version > 2 && row.Version != r.version-1 {
				t.Errorf("version %d was sent when %d was done (%v)", r.version, row.Version, err)
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

// Restarts and crashes at any moment, with an endpoint that fails at random,
// lose nothing and put nothing before what was sent earlier: only the last event
// of an account is ever repeated.
func TestOrderHoldsOverCrashesAtAnyMoment(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			virtual(t, func(h *harness) { crashes(h, rand.New(rand.NewPCG(seed, 4))) })
		})
	}
}

func crashes(h *harness, random *rand.Rand) {
	h.cfg.Untried = 12
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

// crash goes on with the store as it is at this moment. What deliveries store from now on,
// when they stop, is lost.
func (h *harness) crash() {
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

func check(h *harness, accounts []ulid.ULID) {
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
