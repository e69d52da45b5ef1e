package deliveries

import (
	"context"
	"sync/atomic"
	"syscall"
	"time"
)

// defaultRequests is how many requests are under way at most, over all third parties.
const defaultRequests = 512

// mostRequests leaves most of the process's file descriptors to HTTP, to files and to
// connections that are kept for the next request.
func mostRequests() int {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return defaultRequests
	}
	return int(min(max(files.Cur/3, 16), defaultRequests))
}

// requests bounds the requests under way over all third parties. Each third party may have
// an equal share of them, so one that hangs does not slow down the others. If there are
// more third parties than requests, each has one request at a time, and they take turns: a
// channel serves those who wait in the order of their arrival.
type requests struct {
	slots   chan struct{}
	parties atomic.Int64
}

func newRequests(most int) *requests { return &requests{slots: make(chan struct{}, most)} }

// divide shares the requests among so many third parties. A new one may have to wait for
// requests that began when the shares were larger.
func (r *requests) divide(parties int) { r.parties.Store(int64(parties)) }

// share is how many requests each third party may have under way.
func (r *requests) share() int { return max(1, cap(r.slots)/max(1, int(r.parties.Load()))) }

// begin waits until one more request may be under way. It returns false when ctx ends first.
func (r *requests) begin(ctx context.Context) bool {
	select {
	case r.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (r *requests) end() { <-r.slots }

// While even one request at a time is too much, a third party is sent nothing for a time
// that doubles from firstRest to lastRest.
const (
	firstRest = time.Second
	lastRest  = time.Minute
)

// limiter bounds how many requests one third party gets at the same time: fewer when it
// asks for less, and one more with every success.
type limiter struct {
	most  int // the limit in good times
	limit int
	round int           // counts reductions
	rest  time.Duration // the last one that the third party did not ask for
	hold  time.Time     // until then nothing is sent
}

func newLimiter(most int) limiter { return limiter{most: most, limit: most} }

// succeeded allows one more request at a time.
func (l *limiter) succeeded() {
	l.limit, l.rest = min(l.limit+1, l.most), 0
}

// slowed halves the limit. round is the limiter's when the request was sent: requests from
// before an earlier reduction say nothing about the new limit.
func (l *limiter) slowed(round int, at time.Time) {
	if round != l.round {
		return
	}
	l.round++
	if l.limit > 1 {
		l.limit /= 2
		return
	}
	l.rest = min(max(2*l.rest, firstRest), lastRest)
	l.holdUntil(at.Add(l.rest))
}

// holdUntil makes nothing be sent until then, or until later when that was asked before.
func (l *limiter) holdUntil(at time.Time) {
	if at.After(l.hold) {
		l.hold = at
	}
}
