package projections

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

func (h *fixture) reader(patience time.Duration) *Reader {
	return &Reader{Store: h.store, Model: h.model, Follower: h.follower, Patience: patience}
}

func TestReadsSeeEveryWriteAcknowledgedBefore(t *testing.T) {
	for name, patience := range map[string]time.Duration{
		"waiting for the follower": 0,
		"folding the log":          time.Nanosecond,
	} {
		t.Run(name, func(t *testing.T) {
			h := newFixture(t)
			h.run()
			reader := h.reader(patience)
			var writers sync.WaitGroup
			for w := range 16 {
				id := h.openAccount(fmt.Sprintf("w%d@example.com", w))
				writers.Go(func() {
					for v := uint64(1); v < 40; v++ {
						if _, err := h.tryAppend(events.AccountStream(id), v, named(fmt.Sprint(v))); err != nil {
							t.Error(err)
							return
						}
						a, err := reader.Account(t.Context(), id)
						if err != nil || a.Version != v+1 || a.Profile.FirstName != fmt.Sprint(v) {
							t.Errorf("wrote version %d, read %d: %v", v+1, a.Version, err)
							return
						}
					}
				})
			}
			writers.Wait()
		})
	}
}

func TestReadsWaitForTheFollowerBeforeTheyFold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		id := h.openAccount("a@example.com")
		read := make(chan error, 1)
		go func() {
			_, err := h.reader(time.Minute).Account(t.Context(), id)
			read <- err
		}()
		synctest.Wait()
		select {
		case err := <-read:
			t.Errorf("the read did not wait: %v", err)
		default:
			h.run()
			h.must(<-read)
		}
	})
}

func TestReadsDoNotWaitForAFollowerThatRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		id := h.openAccount("a@example.com")
		h.follower = NewFollower(FollowerConfig{Store: h.store, Projection: &recorder{fail: failAt(1)}, Log: slog.New(slog.DiscardHandler)})
		h.run()
		synctest.Wait()
		began := time.Now()
		_, err := h.reader(time.Minute).Account(t.Context(), id)
		h.must(err)
		if waited := time.Since(began); waited != 0 {
			t.Errorf("the read waited %v", waited)
		}
	})
}

func TestReadsFoldTheLogWithoutAFollower(t *testing.T) {
	h := newFixture(t)
	id := h.openAccount("a@example.com")
	h.must(h.model.Apply(t.Context(), h.all(0)))
	for v := uint64(1); v <= foldPage+1; v += 100 {
		var payloads []events.Payload
		for i := range uint64(100) {
			payloads = append(payloads, named(fmt.Sprint(v+i)))
		}
		h.append(events.AccountStream(id), v, payloads...)
	}
	a, err := h.reader(time.Millisecond).Account(t.Context(), id)
	h.must(err)
	if want := h.folded(id); !reflect.DeepEqual(a, want) || a.Version <= foldPage {
		t.Errorf("read version %d, the log has %d", a.Version, want.Version)
	}
	if h.position() != 1 {
		t.Error("a read changed the read model")
	}
}

func TestErasedAndUnknownAccountsAreNotFound(t *testing.T) {
	h := newFixture(t)
	h.run()
	erased := h.openAccount("a@example.com")
	h.append(events.AccountStream(erased), 1, events.AccountErased{})
	for name, id := range map[string]ulid.ULID{"never opened": ulid.Make(), "erased": erased} {
		for _, patience := range []time.Duration{time.Nanosecond, 0} {
			if a, err := h.reader(patience).Account(t.Context(), id); !errors.Is(err, ErrNoAccount) || a.Version != 0 {
				t.Errorf("%s: %+v, %v", name, a, err)
			}
		}
	}
}
