package projections

import (
	"sync"
	"time"
)

// logInterval is the time between two log lines of one kind.
const logInterval = time.Minute

// LogLimiter keeps clients from filling konto's log. Of each kind of line that they
// can cause, it allows one a minute. The zero value is ready to use, and safe for
// concurrent use.
type LogLimiter struct {
	mu    sync.Mutex
	kinds map[string]*lineKind
}

type lineKind struct {
	last    time.Time
	leftOut int
}

// maxKinds bounds the memory, in case a kind contains text that clients chose.
const maxKinds = 1000

// Allow reports whether a line of a kind may be logged now, and how many lines of
// the kind were left out since the last one.
func (l *LogLimiter) Allow(kind string) (leftOut int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k, now := l.kinds[kind], time.Now()
	if k != nil && now.Sub(k.last) < logInterval {
		k.leftOut++
		return 0, false
	}
	if k == nil {
		if l.kinds == nil || len(l.kinds) >= maxKinds {
			l.kinds = make(map[string]*lineKind)
		}
		k = new(lineKind)
		l.kinds[kind] = k
	}
	leftOut = k.leftOut
	*k = lineKind{last: now}
	return leftOut, true
}
