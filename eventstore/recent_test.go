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
	"konto/eventstore/memory"
)

// watched is a log that counts the records that are read of it.
type watched struct {
	eventstore.Log
	read  int
	asked int // how often
	// appending and appended, if not nil, are called before and after an append; appended
	// may change its error.
	appending func()
	appended  func(error) error
	unsure    bool // whether anything was stored
}

func (l *watched) ReadAll(ctx context.Context, after uint64, limit int) ([]eventstore.Record, error) {
	records, err := l.Log.ReadAll(ctx, after, limit)
	l.read += len(records)
	l.asked++
	return records, err
}

func (l *watched) Append(ctx context.Context, b eventstore.Batch) (uint64, error) {
	if l.unsure {
		b.Stored = nil
	}
	if l.appending != nil {
		l.appending()
	}
	last, err := l.Log.Append(ctx, b)
	if l.appended != nil {
		err = l.appended(err)
	}
	if l.unsure {
		err = eventstore.ErrOutcomeUnknown
	}
	return last, err
}

func named(name string) events.ProfileUpdated {
	return events.ProfileUpdated{FirstName: events.Set(name)}
}

// follow reads the log to its end as a follower does, some events at a time.
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

// same compares what followers are given with what the log holds.
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

func TestFollowersReadNothingThatWasJustAppended(t *testing.T) {
	log := &watched{Log: memory.New()}
	s := eventstore.NewStore(log, newKeys(t))
	write(t, s, newStream(), 0, opening("anna@example.se"), named("Anna"), events.AccountErased{})
	write(t, s, newStream(), 0, opening("bo@example.se"))
	got := follow(t, s, 3)
	if log.asked != 0 {
		t.Errorf("the log was asked %d times", log.asked)
	}
	same(t, got, s)
}

// A follower is woken before who appended goes on.
func TestFollowersReadNothingWhoseAppendHasNotReturned(t *testing.T) {
	log := &watched{Log: memory.New()}
	s := eventstore.NewStore(log, newKeys(t))
	var got []events.Event
	log.appended = func(err error) error {
		page, failed := s.ReadNext(t.Context(), uint64(len(got)), 10)
		got = append(got, page...)
		return errors.Join(err, failed)
	}
	stream := newStream()
	write(t, s, stream, 0, opening("anna@example.se"))
	write(t, s, stream, 1, named("Anna"))
	if log.asked != 0 {
		t.Errorf("the log was asked %d times", log.asked)
	}
	same(t, got, s)
}

// What is not in memory comes from the log: what other nodes appended, what is
// large, what was appended too long ago, and what may not have been stored.
func TestFollowersMissNothingThatIsNotInMemory(t *testing.T) {
	shared, keys := memory.New(), newKeys(t)
	log := &watched{Log: shared}
	s, other := eventstore.NewStore(log, keys), eventstore.NewStore(shared, keys)
	a, b := newStream(), newStream()
	write(t, s, a, 0, opening("anna@example.se"))
	write(t, other, b, 0, opening("bo@example.se"), named("Bo"))
	write(t, s, a, 1, named(strings.Repeat("x", eventstore.RecentData)), named("Anna"))
	log.unsure = true
	if _, err := s.Append(t.Context(), a, 3, nil, newEvents(t, a, 3, named("Anne"))); !errors.Is(err, eventstore.ErrOutcomeUnknown) {
		t.Fatal(err)
	}
	log.unsure = false
	for _, limit := range []int{1, 2, 100} {
		log.read = 0
		got := follow(t, s, limit)
		if log.read != 4 {
			t.Errorf("%d at a time: %d records were read, not the 4 that are not in memory", limit, log.read)
		}
		same(t, got, s)
	}
	for v := range uint64(eventstore.RecentEvents) {
		by := s
		if 7+v == 1+eventstore.RecentEvents { // so that 1 stays in memory, but no event after it
			by = other
		}
		write(t, by, b, v+2, named(fmt.Sprint(v)))
	}
	same(t, follow(t, s, 100), s)
}

// Each page is a batch of a follower, with a pause before it: what takes turns in
// memory and in the log must not make many of them.
func TestFollowersReadOnWhereOtherNodesAppendedToo(t *testing.T) {
	shared, keys := memory.New(), newKeys(t)
	s, other := eventstore.NewStore(shared, keys), eventstore.NewStore(shared, keys)
	a, b := newStream(), newStream()
	write(t, s, a, 0, opening("anna@example.se"))
	write(t, other, b, 0, opening("bo@example.se"))
	for v := range uint64(99) {
		write(t, s, a, v+1, named(fmt.Sprint(v)))
		write(t, other, b, v+1, named(fmt.Sprint(v)))
	}
	for _, by := range []*eventstore.Store{s, other} {
		page, err := by.ReadNext(t.Context(), 0, 100)
		if err != nil || len(page) < 99 || len(page) > 100 { // the last may not be in memory
			t.Errorf("%d events, %v", len(page), err)
		}
		same(t, follow(t, by, 100), s)
	}
}

// An event that cannot be read ends a page, and those before it are in it.
func TestFollowersAreGivenWhatIsBeforeAnUnreadableEvent(t *testing.T) {
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

func TestNothingOfADestroyedKeyComesFromMemory(t *testing.T) {
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
}

// The followers need the events before the last one, and nobody needs them afterwards. Another
// node may have ended the stream.
func TestEndedStreamIsDroppedFromMemory(t *testing.T) {
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
			if s.Kept(a) < 2 {
				t.Error("events are dropped that no follower has read")
			}
			same(t, follow(t, s, 100), s)
			if s.Kept(a) != 0 || s.Kept(b) != 1 {
				t.Errorf("%d events of it are in memory, and %d of another stream", s.Kept(a), s.Kept(b))
			}
			same(t, follow(t, s, 100), s)
		})
	}
}

// The key of a stream may be destroyed while an append to it is under way.
func TestNothingIsKeptThatWasAppendedWhileItsKeyWasDestroyed(t *testing.T) {
	keys, stream := newKeys(t), newStream()
	log := &watched{Log: memory.New()}
	s := eventstore.NewStore(log, keys)
	ctx, leave := context.WithCancel(t.Context())
	log.appending = func() {
		if err := keys.Destroy(t.Context(), stream); err != nil {
			t.Error(err)
		}
	}
	log.appended = func(err error) error {
		leave()
		return err
	}
	if _, err := s.Append(ctx, stream, 0, nil, newEvents(t, stream, 0, opening("anna@example.se"))); err != nil {
		t.Fatal(err)
	}
	if n := s.Kept(stream); n != 0 {
		t.Errorf("%d events are in memory", n)
	}
}

// flaky is a keyring that cannot be asked for a while.
type flaky struct {
	eventstore.Keys
	err  error
	only events.Stream // if not "", others can be
}

func (k *flaky) Cipher(ctx context.Context, stream events.Stream) (cipher.AEAD, error) {
	if k.err != nil && (k.only == "" || k.only == stream) {
		return nil, k.err
	}
	return k.Keys.Cipher(ctx, stream)
}

func TestNothingComesFromMemoryWhenNobodyKnowsWhetherItsKeyIsDestroyed(t *testing.T) {
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
