package eventstore

import "konto/events"

// Kept is how many events of a stream are in memory.
func (s *Store) Kept(stream events.Stream) (n int) {
	s.recent.mu.Lock()
	defer s.recent.mu.Unlock()
	for _, e := range s.recent.slots {
		if e.Stream == stream {
			n++
		}
	}
	return n
}

const (
	RecentEvents = recentEvents
	RecentData   = recentData
)
