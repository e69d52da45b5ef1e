package deliveries

import "time"

const (
	// While even one request at a time is too much, the third party is left
	// alone for a time that doubles from the first to the last.
	firstRest = time.Second
	lastRest  = time.Minute

	// longestWait bounds what Retry-After can ask for: the longest delay of the
	// usual schedule.
	longestWait = 24 * time.Hour
)

// pace is how many requests one third party gets at the same time: fewer when
// it asks for less, more again with every success.
type pace struct {
	most  int // the limit in good times
	limit int
	round int           // counts reductions
	rest  time.Duration // the last one that was not asked for
	hold  time.Time     // until then nothing is sent
}

func newPace(most int) pace { return pace{most: most, limit: most} }

// succeeded allows one more request at a time.
func (p *pace) succeeded() {
	p.limit, p.rest = min(p.limit+1, p.most), 0
}

// slowed halves the limit. Requests that were sent before an earlier reduction
// do not count: their answers tell nothing of the new limit.
func (p *pace) slowed(round int, at time.Time) {
	if round != p.round {
		return
	}
	p.round++
	if p.limit > 1 {
		p.limit /= 2
		return
	}
	p.rest = min(max(2*p.rest, firstRest), lastRest)
	p.holdUntil(at.Add(p.rest))
}

// holdUntil sends nothing until then, or until later when that was asked for before.
func (p *pace) holdUntil(at time.Time) {
	if at.After(p.hold) {
		p.hold = at
	}
}
