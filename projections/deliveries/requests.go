package deliveries

import (
	"context"
	"sync/atomic"
	"syscall"
)

// usualRequests is how many requests are under way at most, all third parties together.
const usualRequests = 512

// mostRequests leaves most of the file descriptors that the process may have to
// others: HTTP, the files, connections that are kept for the next request.
func mostRequests() int {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return usualRequests
	}
	return int(min(max(files.Cur/3, 16), usualRequests))
}

// requests bounds requests under way over all third parties. Each may have an
// equal share of them, so those that hang take nothing from the others. Where
// there are more third parties than requests, each has one at a time, and they
// take turns: a channel serves who waits in the order of arrival.
type requests struct {
	slots   chan struct{}
	parties atomic.Int64
}

func newRequests(most int) *requests { return &requests{slots: make(chan struct{}, most)} }

// divide shares the requests among so many third parties. One that is new may
// have to wait for requests that began when the shares were larger.
func (r *requests) divide(parties int) { r.parties.Store(int64(parties)) }

// share is how many requests each third party may have under way.
func (r *requests) share() int { return max(1, cap(r.slots)/max(1, int(r.parties.Load()))) }

// begin waits until one more request may be under way; it is false when ctx ended first.
func (r *requests) begin(ctx context.Context) bool {
	select {
	case r.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (r *requests) end() { <-r.slots }
