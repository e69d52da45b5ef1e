package http

import (
	"context"
	"fmt"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// Buckets are token buckets that several nodes share. It must be safe for concurrent use.
type Buckets interface {
	// Take takes whole tokens, at most most, from the bucket of a key. A bucket is full at
	// first, with burst tokens, and gets perSecond of them back each second. Take returns how
	// many it took and how many are left. A name stands for a limit. Keys may be personal data,
	// so an implementation stores at most their keyed hashes. Take returns when ctx ends. After
	// an error it may have taken some.
	Take(ctx context.Context, name string, key []byte, most, burst int, perSecond float64) (taken int, left float64, err error)
}

const (
	// takeTimeout is how long a request waits at most for each time tokens are taken.
	takeTimeout = 100 * time.Millisecond
	// emptyPause is how long a bucket without enough tokens is left alone at least, so that a
	// caller far over its limit does not cause as many questions as requests.
	emptyPause = 100 * time.Millisecond
	// alonePause is how long a bucket is left alone that could not be asked.
	alonePause = time.Second
)

// sharedBuckets spends from buckets that several nodes share. It takes a tenth of a bucket at
// once and spends that in memory, so most requests wait for nobody. What a node has taken and not
// spent is one such part at most, so all nodes together allow the limit and one part for each node.
type sharedBuckets[K comparable] struct {
	buckets   Buckets
	name      string
	burst     int
	perSecond float64
	timeout   time.Duration // of each Take
	parts     *lru.Cache[K, *part]
}

// part is what this node has of one bucket, and knows of it.
type part struct {
	mu     sync.Mutex
	tokens int           // taken and not spent
	taking chan struct{} // closed when the running Take ends; nil if none runs

	// What the last Take found.
	left  float64 // tokens in the bucket
	asked time.Time
	again time.Time // when to take again if tokens are too few; zero for at once
	alone bool      // Take failed: until then this node knows nothing of the others
}

func newSharedBuckets[K comparable](buckets Buckets, name string, burst int, perSecond float64) *sharedBuckets[K] {
	parts, _ := lru.New[K, *part](maxBuckets) // fails only for a size below 1
	return &sharedBuckets[K]{buckets: buckets, name: name, burst: burst, perSecond: perSecond, timeout: takeTimeout, parts: parts}
}

// spend spends a cost and returns how many tokens are left for all nodes, as far as this node
// knows. known is false if the bucket could not be asked in time.
func (s *sharedBuckets[K]) spend(key K, cost int, at time.Time) (paid bool, left float64, known bool) {
	p := s.part(key)
	for {
		paid, left, known, wait := s.try(p, key, cost, at)
		if wait == nil {
			return paid, left, known
		}
		<-wait
	}
}

// try is spend if that needs nobody else. Otherwise it returns a channel to wait for before the
// next try.
func (s *sharedBuckets[K]) try(p *part, key K, cost int, at time.Time) (paid bool, left float64, known bool, wait <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.tokens >= cost:
		p.tokens -= cost
		return true, min(float64(s.burst), float64(p.tokens)+p.left+s.perSecond*max(0, at.Sub(p.asked).Seconds())), true, nil
	case p.taking != nil: // all who wait for this bucket wait for one Take
		return false, 0, false, p.taking
	case at.Before(p.again):
		return false, max(0, float64(cost)-s.perSecond*p.again.Sub(at).Seconds()), !p.alone, nil
	}
	p.taking = make(chan struct{})
	go s.take(p, key, cost, max(s.burst/10, cost)-p.tokens, at)
	return false, 0, false, p.taking
}

// take takes tokens for a cost. No request's context ends it, because others wait for it too.
func (s *sharedBuckets[K]) take(p *part, key K, cost, most int, at time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	taken, left, err := s.buckets.Take(ctx, s.name, fmt.Append(nil, key), most, s.burst, s.perSecond)
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.taking)
	p.taking = nil
	if p.alone = err != nil; p.alone {
		p.again = at.Add(alonePause)
		return
	}
	p.tokens += taken
	p.left, p.asked, p.again = left, at, time.Time{}
	if missing := float64(cost-p.tokens) - left; cost > p.tokens {
		p.again = at.Add(max(emptyPause, time.Duration(missing/s.perSecond*float64(time.Second))))
	}
}

// part returns the part of a key, and makes it if it is not there.
func (s *sharedBuckets[K]) part(key K) *part {
	if p, ok := s.parts.Get(key); ok {
		return p
	}
	p := &part{}
	if other, ok, _ := s.parts.PeekOrAdd(key, p); ok {
		return other // another request was first
	}
	return p
}
