package eventstore_test

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/memory"
)

// counting is a keyring that counts how many data and metadata are decrypted.
type counting struct {
	*keyring.Keyring
	opened  int
	created func() // if not nil, is called after a key was created
}

func (k *counting) Create(ctx context.Context, stream events.Stream) (cipher.AEAD, error) {
	aead, err := k.Keyring.Create(ctx, stream)
	if k.created != nil {
		k.created()
	}
	return counted{aead, k}, err
}

func (k *counting) Cipher(ctx context.Context, stream events.Stream) (cipher.AEAD, error) {
	aead, err := k.Keyring.Cipher(ctx, stream)
	return counted{aead, k}, err
}

type counted struct {
	cipher.AEAD
	keys *counting
}

func (c counted) Open(dst, nonce, ciphertext, data []byte) ([]byte, error) {
	c.keys.opened++
	return c.AEAD.Open(dst, nonce, ciphertext, data)
}

// watched is a log whose appends call functions.
type watched struct {
	eventstore.Log
	before func()            // is called before an append, if not nil
	after  func(error) error // is called after an append, if not nil, and may change its error
}

func (l *watched) Append(ctx context.Context, b eventstore.Batch) (uint64, error) {
	if l.before != nil {
		l.before()
	}
	last, err := l.Log.Append(ctx, b)
	if l.after != nil {
		err = l.after(err)
	}
	return last, err
}

func named(name string) events.ProfileUpdated {
	return events.ProfileUpdated{FirstName: events.Set(name)}
}

// follow reads the log to its end as a follower does, up to limit events at a time.
func follow(t *testing.T, s *eventstore.Store, limit int) (all []events.Event) {
	t.Helper()
	head, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for after := uint64(0); after < head; after = all[len(all)-1].Position {
		page, err := s.ReadNext(t.Context(), after, limit)
		if err != nil || len(page) == 0 || len(page) > limit {
			t.Fatalf("%d events after %d, %v", len(page), after, err)
		}
		all = append(all, page...)
	}
	return all
}

// same compares what followers read with the log.
func same(t *testing.T, got []events.Event, s *eventstore.Store) {
	t.Helper()
	want, err := s.ReadAll(t.Context(), 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("%d events, not %d", len(got), len(want))
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Fatalf("got  %+v\nwant %+v", got[i], want[i])
		}
	}
}

// Another node may have ended the stream, and its key may be destroyed after this node has read the end.
func TestEventsThatWereNotAppendedAreNotCached(t *testing.T) {
	keys, log := &counting{Keyring: newKeys(t)}, &watched{Log: memory.New()}
	s := eventstore.NewStore(log, keys)
	log.after = func(error) error { return eventstore.ErrOutcomeUnknown } // it is stored, so that a follower can read it
	stream := newStream()
	if _, err := s.Append(t.Context(), stream, 0, nil, newEvents(t, stream, 0, opening("anna@example.se"))); !errors.Is(err, eventstore.ErrOutcomeUnknown) {
		t.Fatal(err)
	}
	if follow(t, s, 1); keys.opened == 0 {
		t.Error("the event was in the cache")
	}
}

func TestFollowersDecryptNothingThatWasJustAppended(t *testing.T) {
	keys := &counting{Keyring: newKeys(t)}
	s := eventstore.NewStore(memory.New(), keys)
	write(t, s, newStream(), 0, opening("anna@example.se"), named("Anna"), events.AccountErased{})
	write(t, s, newStream(), 0, opening("bo@example.se"))
	got := follow(t, s, 3)
	if keys.opened != 0 {
		t.Errorf("%d times something was decrypted", keys.opened)
	}
	same(t, got, s)
}

// A follower is woken before the append returns.
func TestFollowersDecryptNothingWhoseAppendHasNotReturned(t *testing.T) {
	log, keys := &watched{Log: memory.New()}, &counting{Keyring: newKeys(t)}
	s := eventstore.NewStore(log, keys)
	var got []events.Event
	log.after = func(err error) error {
		page, failed := s.ReadNext(t.Context(), uint64(len(got)), 10)
		got = append(got, page...)
		return errors.Join(err, failed)
	}
	stream := newStream()
	write(t, s, stream, 0, opening("anna@example.se"))
	write(t, s, stream, 1, named("Anna"))
	if keys.opened != 0 {
		t.Errorf("%d times something was decrypted", keys.opened)
	}
	same(t, got, s)
}

func TestFollowersDecryptWhatIsNotCached(t *testing.T) {
	shared, keys := memory.New(), &counting{Keyring: newKeys(t)}
	s, other := eventstore.NewStore(shared, keys), eventstore.NewStore(shared, keys)
	a, b := newStream(), newStream()
	write(t, s, a, 0, opening("anna@example.se"))
	write(t, other, b, 0, opening("bo@example.se"), named("Bo")) // on another node
	write(t, s, a, 1, named(strings.Repeat("x", eventstore.RecentData)), named("Anna"))
	for _, limit := range []int{1, 2, 100} {
		keys.opened = 0
		got := follow(t, s, limit)
		if keys.opened != 2*3 { // data and metadata
			t.Errorf("%d at a time: %d times something was decrypted, not 6 times", limit, keys.opened)
		}
		same(t, got, s)
	}
	for v := range uint64(eventstore.RecentEvents) {
		write(t, s, b, v+2, named(fmt.Sprint(v)))
	}
	keys.opened = 0
	got := follow(t, s, 100)
	if keys.opened != 2*5 { // what was appended before these
		t.Errorf("%d times something was decrypted, not 10 times", keys.opened)
	}
	same(t, got, s)
}

func TestFollowersReadWhatWasStoredWhenAnAppendIsRepeatedWithOtherData(t *testing.T) {
	log := &watched{Log: memory.New()}
	s := eventstore.NewStore(log, newKeys(t))
	stream := newStream()
	write(t, s, stream, 0, opening("anna@example.se"))
	first := newEvents(t, stream, 1, named("Anna"))
	log.after = func(error) error { return eventstore.ErrOutcomeUnknown }
	if _, err := s.Append(t.Context(), stream, 1, nil, first); !errors.Is(err, eventstore.ErrOutcomeUnknown) {
		t.Fatal(err)
	}
	log.after = nil
	second := newEvents(t, stream, 1, named("Anne"))
	second[0].ID = first[0].ID
	if _, err := s.Append(t.Context(), stream, 1, nil, second); !errors.Is(err, eventstore.ErrConflict) {
		t.Fatal(err)
	}
	same(t, follow(t, s, 10), s)
}

func TestFollowersReadTheEventsBeforeAnUnreadableEvent(t *testing.T) {
	keys, shared := &flaky{Keys: newKeys(t)}, memory.New()
	s, other := eventstore.NewStore(shared, keys), eventstore.NewStore(shared, keys)
	a, b := newStream(), newStream()
	write(t, s, a, 0, opening("anna@example.se"))
	write(t, other, b, 0, opening("bo@example.se"))
	write(t, s, a, 1, named("Anna"))
	keys.err, keys.only = errors.New("input/output error"), b
	got, err := s.ReadNext(t.Context(), 0, 10)
	if len(got) != 1 || !errors.Is(err, keys.err) || !strings.Contains(err.Error(), "AccountOpened.v1 at position 2") {
		t.Errorf("%d events, %v", len(got), err)
	}
}

func TestFollowersSeeTheOrderOfTheLogWhileOthersAppend(t *testing.T) {
	shared, keys := memory.New(), newKeys(t)
	s, other := eventstore.NewStore(shared, keys), eventstore.NewStore(shared, keys)
	const writers, each = 8, 100
	var writing sync.WaitGroup
	for w := range writers {
		stream, by := newStream(), s
		if w == 0 {
			by = other
		}
		evs := newEvents(t, stream, 0, opening(fmt.Sprint(w)))
		for v := range uint64(each - 1) {
			evs = append(evs, newEvents(t, stream, v+1, named(fmt.Sprint(v)))...)
		}
		writing.Go(func() {
			for v := range evs {
				if _, err := by.Append(context.Background(), stream, uint64(v), nil, evs[v:v+1]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var got []events.Event
	for after := uint64(0); after < writers*each; after = got[len(got)-1].Position {
		if err := s.Wait(t.Context(), after); err != nil {
			t.Fatal(err)
		}
		page, err := s.ReadNext(t.Context(), after, 50)
		if err != nil || len(page) == 0 {
			t.Fatalf("%d events after %d, %v", len(page), after, err)
		}
		got = append(got, page...)
	}
	writing.Wait()
	same(t, got, s)
}

func TestNothingOfADestroyedKeyComesFromTheCache(t *testing.T) {
	keys := newKeys(t)
	s := eventstore.NewStore(memory.New(), keys)
	a, b := newStream(), newStream()
	write(t, s, a, 0, opening("anna@example.se"), named("Anna"))
	write(t, s, b, 0, opening("bo@example.se"))
	write(t, s, a, 2, events.AccountErased{})
	if err := keys.Destroy(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if got := follow(t, s, 100); !got[0].Shredded || got[0].Data != nil || !got[1].Shredded || got[2].Shredded || got[3].Shredded {
		t.Errorf("%+v", got)
	}
	same(t, follow(t, s, 100), s)
	if s.Cached(a) != 0 || s.Cached(b) != 1 {
		t.Errorf("%d of its events are cached, and %d of another stream", s.Cached(a), s.Cached(b))
	}
}

func TestNothingIsCachedThatIsAppendedWhileItsKeyIsDestroyed(t *testing.T) {
	for _, when := range []string{"before the events are cached", "after the events are cached"} {
		t.Run(when, func(t *testing.T) {
			log, keys, stream := &watched{Log: memory.New()}, &counting{Keyring: newKeys(t)}, newStream()
			s := eventstore.NewStore(log, keys)
			destroy := func() {
				if err := keys.Destroy(t.Context(), stream); err != nil {
					t.Error(err)
				}
			}
			if when == "after the events are cached" {
				log.before = destroy
			} else {
				keys.created = destroy
			}
			if _, err := s.Append(t.Context(), stream, 0, nil, newEvents(t, stream, 0, opening("anna@example.se"))); err != nil {
				t.Fatal(err)
			}
			if n := s.Cached(stream); n != 0 {
				t.Errorf("%d events are cached", n)
			}
		})
	}
}

// flaky is a keyring that cannot be read for a while.
type flaky struct {
	eventstore.Keys
	err  error
	only events.Stream // if not "", only the key of this stream cannot be read
}

func (k *flaky) Cipher(ctx context.Context, stream events.Stream) (cipher.AEAD, error) {
	if k.err != nil && (k.only == "" || k.only == stream) {
		return nil, k.err
	}
	return k.Keys.Cipher(ctx, stream)
}

func TestNothingComesFromTheCacheWhenItsKeyCannotBeRead(t *testing.T) {
	keys := &flaky{Keys: newKeys(t)}
	s := eventstore.NewStore(memory.New(), keys)
	stream := newStream()
	write(t, s, stream, 0, opening("anna@example.se"))
	keys.err = errors.New("input/output error")
	got, err := s.ReadNext(t.Context(), 0, 10)
	if len(got) != 0 || !errors.Is(err, keys.err) || !strings.Contains(err.Error(), "AccountOpened.v1 at position 1") {
		t.Errorf("%d events, %v", len(got), err)
	}
}

// The followers need the events before the last one, and nobody needs them afterwards. Another
// node may have ended the stream.
func TestEndedStreamIsEvictedFromTheCache(t *testing.T) {
	for name, other := range map[string]bool{"by this node": false, "by another node": true} {
		t.Run(name, func(t *testing.T) {
			keys, shared := newKeys(t), memory.New()
			s := eventstore.NewStore(shared, keys)
			a, b := newStream(), newStream()
			write(t, s, a, 0, opening("anna@example.se"), named("Anna"))
			write(t, s, b, 0, opening("bo@example.se"))
			by := s
			if other {
				by = eventstore.NewStore(shared, keys)
			}
			write(t, by, a, 2, events.AccountErased{})
			if s.Cached(a) < 2 {
				t.Error("events are evicted that no follower has read")
			}
			same(t, follow(t, s, 100), s)
			if s.Cached(a) != 0 || s.Cached(b) != 1 {
				t.Errorf("%d of its events are cached, and %d of another stream", s.Cached(a), s.Cached(b))
			}
			same(t, follow(t, s, 100), s)
		})
	}
}
