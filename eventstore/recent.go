package eventstore

import (
	"context"
	"errors"
	"sync"

	"konto/events"
)

const (
	// recentEvents is how many events are kept: what a follower lags behind that is
	// well and gets its turn.
	recentEvents = 4096
	// recentData is how many bytes of data an event has at most that is kept. With
	// it all of them take up 10 MB at most; a larger one is read from the log.
	recentData = 2048
)

// recent keeps the events that this process appended last, in clear. Every follower
// wants every event within milliseconds, and would else read and decrypt what was
// just encrypted: 10 microseconds an event and follower, instead of 0.3.
type recent struct {
	mu    sync.Mutex
	slots [recentEvents]events.Event // the one at position p, if any, in slot p modulo their number
}

// add keeps the events of one append, which are durable, the last at a position.
func (r *recent) add(evs []events.Event, last uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, e := range evs {
		if len(e.Data) <= recentData {
			e.Position = last - uint64(len(evs)-1-i)
			r.slots[e.Position%recentEvents] = e
		}
	}
}

// after returns the events that follow a position without any in between, up to
// limit. When the first of them is not kept there are none, and missing is how
// many positions, up to limit, come before one that is.
func (r *recent) after(position uint64, limit int) (evs []events.Event, missing int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for missing < limit && !r.holds(position+1+uint64(missing)) {
		missing++
	}
	if missing > 0 {
		return nil, missing
	}
	n := 0
	for n < limit && r.holds(position+1+uint64(n)) {
		n++
	}
	evs = make([]events.Event, n)
	for i := range evs {
		evs[i] = r.slots[(position+1+uint64(i))%recentEvents]
	}
	return evs, 0
}

// holds tells whether the event at a position is kept. The caller holds mu.
func (r *recent) holds(position uint64) bool {
	return r.slots[position%recentEvents].Position == position
}

// forget drops what is kept of a stream.
func (r *recent) forget(stream events.Stream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.slots {
		if r.slots[i].Stream == stream {
			r.slots[i] = events.Event{}
		}
	}
}

// ReadNext is ReadAll for who follows the log: it reads and decrypts nothing that
// this process has just appended. It may return fewer events than limit although
// there are more, but at least one if there is any. What the events' Data hold is
// shared and must not be changed. When an event ends a stream, what is kept of the stream
// is dropped from memory.
func (s *Store) ReadNext(ctx context.Context, after uint64, limit int) (all []events.Event, err error) {
	for len(all) < limit {
		kept, missing := s.recent.after(after, limit-len(all))
		if missing == limit-len(all) && len(all) > 0 {
			break // most often it is the end of the log
		}
		if missing > 0 {
			kept, err = s.ReadAll(ctx, after, missing)
		} else {
			kept, err = s.shred(ctx, kept)
		}
		// Read on where other nodes' events are between those in memory: a page is
		// a batch of the follower's, and has to be worth one.
		if all == nil {
			all = kept // most often all there is
		} else {
			all = append(all, kept...)
		}
		for _, e := range kept {
			if ends(e) { // its stream's key is destroyed next
				s.recent.forget(e.Stream)
			}
		}
		if err != nil || len(kept) == 0 {
			break
		}
		after = kept[len(kept)-1].Position
	}
	return all, err
}

// shred makes events from memory what they would be if they were read from the log:
// without its key an event cannot be. After an error, those before it are returned.
func (s *Store) shred(ctx context.Context, evs []events.Event) ([]events.Event, error) {
	for i, e := range evs {
		if !events.Sealed(e.Type) {
			continue
		}
		if _, err := s.keys.Cipher(ctx, e.Stream); errors.Is(err, ErrDestroyed) {
			evs[i] = shredded(e)
		} else if err != nil {
			return evs[:i], &EventError{e.Type, e.Position, err}
		}
	}
	return evs, nil
}

// forgetDestroyed drops from memory what was just appended to a stream whose key was
// destroyed meanwhile. Who appended may have gone.
func (s *Store) forgetDestroyed(ctx context.Context, stream events.Stream) {
	if _, err := s.keys.Cipher(context.WithoutCancel(ctx), stream); errors.Is(err, ErrDestroyed) {
		s.recent.forget(stream)
	}
}
