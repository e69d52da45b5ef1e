package deliveries

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/projections/webhook"
)

// shared is a store that other processes use too, as the test has them do.
type shared struct {
	*File
	mayNotSend atomic.Bool
	lose       atomic.Pointer[context.CancelFunc]
	parties    func() // is called before Parties
}

func (s *shared) Hold(ctx context.Context, _ ulid.ULID, run func(context.Context, Held) error) error {
	held, lose := context.WithCancel(context.WithoutCancel(ctx))
	s.lose.Store(&lose)
	return run(held, s)
}

func (s *shared) MaySend() bool { return !s.mayNotSend.Load() }

func (s *shared) Parties(ctx context.Context) ([]ulid.ULID, error) {
	s.parties()
	return s.File.Parties(ctx)
}

// share makes h's store a shared one.
func (h *harness) share() *shared {
	s := &shared{parties: func() {}}
	h.wrap = func(f *File) Store {
		s.File = f
		return s
	}
	return s
}

func TestNothingIsSentWhileAnotherNodeMaySoonSend(t *testing.T) {
	virtual(t, func(h *harness) {
		db := h.share()
		party, account := h.add("crm"), h.open()
		db.mayNotSend.Store(true)
		h.start()
		h.change(account, 1)
		pass(time.Minute)
		if n := len(h.requests()); n > 0 || h.status(party).Error == "" {
			t.Errorf("%d requests; status %+v", n, h.status(party))
		}
		db.mayNotSend.Store(false)
		pass(time.Minute)
		if got := h.versionsOf(account); got != "[2]" || h.status(party).Error != "" {
			t.Errorf("%s were sent; status %+v", got, h.status(party))
		}
	})
}

func TestRequestsAreCutOffWhenAnotherNodeMaySend(t *testing.T) {
	virtual(t, func(h *harness) {
		var cut atomic.Bool
		db := h.share()
		party, account := h.add("crm"), h.open()
		h.answer(func(r request) webhook.Answer {
			if r.version == 3 {
				<-r.ctx.Done()
				cut.Store(true)
				return failed(r)
			}
			return delivered(r)
		})
		h.start()
		h.change(account, 2)
		pass(10 * time.Second)
		checkpoint := h.party(party).Checkpoint
		h.answer(delivered)
		(*db.lose.Load())()
		pass(100 * time.Millisecond)
		if !cut.Load() {
			t.Error("the request goes on")
		}
		if now := h.party(party).Checkpoint; now != checkpoint {
			t.Errorf("the checkpoint went from %d to %d", checkpoint, now)
		}
		pass(time.Minute)
		if got := h.versionsOf(account); got != "[2 3 3]" {
			t.Errorf("%s were sent", got)
		}
	})
}

// Another process adds a third party, and saves its first rows, while this one starts.
func TestRowsOfAThirdPartyThatIsJustAddedAreKept(t *testing.T) {
	virtual(t, func(h *harness) {
		db := h.share()
		var added ulid.ULID
		db.parties = func() {
			added = h.addAt("added", "https://example.com")
			h.must(db.Save(context.Background(), added, &Delivery{Account: ulid.Make(), Version: 1, Position: 1}, nil))
			db.parties = func() {}
		}
		gone := ulid.Make()
		h.start()
		h.stop()
		f, err := OpenFile(context.Background(), FileConfig{Path: h.path, Log: h.log, Keys: h.keys})
		h.must(err)
		h.must(f.SetPosition(context.Background(), gone, 1))
		h.must(f.Close())
		h.start()
		pass(time.Second)
		known, err := db.Parties(context.Background())
		h.must(err)
		if len(known) != 1 || known[0] != added {
			t.Errorf("the store has rows of %v, want those of %v", known, added)
		}
	})
}
