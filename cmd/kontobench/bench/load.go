package bench

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sync/errgroup"
)

// load is requests of one kind over connections that are kept open.
type load struct {
	to          Server
	kind        kind
	targets     []Target // in turn
	connections int
	length      time.Duration
	rate        float64 // requests a second; 0: a connection's next follows its answer
	keep        bool    // whether acks are kept
}

// loaded is what came of a load.
type loaded struct {
	latency *hdrhistogram.Histogram // microseconds, of requests answered with 200
	errors  int64
	length  time.Duration
	acks    []ack // in order of time
}

// ack is an answer to an update.
type ack struct {
	target  int
	version uint64
	email   bool // whether it changed the email address
	at      time.Time
}

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, patience.Microseconds(), 3)
}

// run makes the requests. An error is one of ctx, or of a server that cannot be
// reached; those that single requests meet are counted.
//
// With a rate, a request counts from when it was due, so that a server that is
// late for one is late for those that wait behind it.
func (l load) run(ctx context.Context) (*loaded, error) {
	clients := make([]*client, l.connections)
	for i := range clients {
		clients[i] = &client{to: l.to}
		defer clients[i].close()
		if err := clients[i].open(ctx); err != nil {
			return nil, err
		}
	}
	order := rand.Perm(len(l.targets)) // else neighbours in the log would be neighbours in the load
	begun := time.Now()
	var next atomic.Int64
	var mu sync.Mutex
	all := &loaded{latency: newHistogram()}
	group, ctx := errgroup.WithContext(ctx)
	for _, c := range clients {
		group.Go(func() error {
			one, err := l.connection(ctx, c, begun, &next, order)
			mu.Lock()
			defer mu.Unlock()
			all.latency.Merge(one.latency)
			all.errors += one.errors
			all.acks = append(all.acks, one.acks...)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	all.length = time.Since(begun)
	slices.SortFunc(all.acks, func(a, b ack) int { return a.at.Compare(b.at) })
	return all, nil
}

// connection is one connection's part of a load.
func (l load) connection(ctx context.Context, c *client, begun time.Time, next *atomic.Int64, order []int) (*loaded, error) {
	end := begun.Add(l.length)
	done := &loaded{latency: newHistogram()}
	c.until(end.Add(patience))
	var request []byte
	for {
		i := next.Add(1) - 1
		from := time.Now()
		if l.rate > 0 {
			from = begun.Add(time.Duration(float64(i) / l.rate * float64(time.Second)))
			if from.Before(end) {
				time.Sleep(time.Until(from))
			}
		}
		if !from.Before(end) || ctx.Err() != nil {
			return done, ctx.Err()
		}
		target, n := order[int(i)%len(order)], numbers.Add(1)
		request = l.kind.render(request[:0], l.to, l.targets[target], n)
		a, err := c.do(ctx, request)
		if err != nil {
			done.errors++
			if err := c.open(ctx); err != nil {
				return done, err
			}
			c.until(end.Add(patience))
			continue
		}
		done.note(l, target, n, a, from)
	}
}

// note counts an answer.
func (d *loaded) note(l load, target int, n uint64, a answer, from time.Time) {
	if a.status != http.StatusOK {
		d.errors++
		return
	}
	at := time.Now()
	d.latency.RecordValue(min(max(1, at.Sub(from).Microseconds()), patience.Microseconds()))
	if l.keep {
		d.acks = append(d.acks, ack{target, a.version, l.kind.special != nil && l.kind.special(n), at})
	}
}
