package eventstore

import "konto/events"

// Cached returns how many events of a stream are cached.
func (s *Store) Cached(stream events.Stream) (n int) {
	s.recent.mu.Lock()
	defer s.recent.mu.Unlock()
	for _, slot := range s.recent.slots {
		if slot.event.Stream == stream {
			n++
		}
	}
	return n
}

const (
	RecentEvents = recentEvents
	RecentData   = recentData
)
