package projections

import (
	"sync"
	"time"
)

// seldomTime is how often one kind of line is logged at most.
const seldomTime = time.Minute

// Seldom keeps others from filling konto's log: of each kind of line that they
// can cause it lets one through a minute. The zero value is ready, and safe for
// concurrent use.
type Seldom struct {
	mu    sync.Mutex
	kinds map[string]*kind
}

type kind struct {
	last    time.Time
	leftOut int
}

// maxKinds bounds what is remembered, should a kind hold what others chose.
const maxKinds = 1000

// May tells whether a line of a kind may be logged now, and how many of the kind
// were left out since the last one.
func (s *Seldom) May(of string) (leftOut int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, now := s.kinds[of], time.Now()
	if k != nil && now.Sub(k.last) < seldomTime {
		k.leftOut++
		return 0, false
	}
	if k == nil {
		if s.kinds == nil || len(s.kinds) >= maxKinds {
			s.kinds = make(map[string]*kind)
		}
		k = new(kind)
		s.kinds[of] = k
	}
	leftOut = k.leftOut
	*k = kind{last: now}
	return leftOut, true
}
