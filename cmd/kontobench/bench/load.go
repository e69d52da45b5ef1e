package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sync/errgroup"
)

// load describes requests of one kind over connections that stay open.
type load struct {
	to          Server
	kind        kind
	targets     []Target // in turn
	connections int
	length      time.Duration
	rate        float64 // requests a second; 0: a connection's next follows its answer
	keep        bool    // whether acks are kept
}

// loaded is the result of a load.
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

// run makes the requests. It returns an error if ctx ends or the server cannot be reached. Errors of
// single requests are counted.
//
// With a rate, the latency of a request counts from the moment when it was due, so a delay of the
// server also counts for the requests that wait because of it.
func (l load) run(ctx context.Context) (*loaded, error) {
	clients := make([]*client, l.connections)
	for i := range clients {
		clients[i] = &client{to: l.to}
		defer clients[i].close()
		if err := clients[i].open(ctx); err != nil {
			return nil, err
		}
	}
	order := rand.Perm(len(l.targets)) // so that neighbours in the log are not neighbours in the load
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

// Subject is a konto that is measured.
type Subject struct {
	Server      Server
	Process     Process
	Targets     []Target // accounts whose credentials may read and write
	Connections int
	Length      time.Duration // of each measurement
}

// HTTP measures PATCH and GET, over all accounts and over the last one. measured is called after each
// of these four.
func (s Subject) HTTP(ctx context.Context, measured func()) (all []Request, err error) {
	for _, k := range []kind{patch, get} {
		for _, targets := range [][]Target{s.Targets, s.Targets[len(s.Targets)-1:]} {
			r, err := s.request(ctx, k, targets)
			if err != nil {
				return nil, err
			}
			all = append(all, r)
			measured()
		}
	}
	return all, nil
}

// Spread measures PATCH and GET over all accounts.
func (s Subject) Spread(ctx context.Context, measured func()) (patched, got Request, err error) {
	if patched, err = s.request(ctx, patch, s.Targets); err != nil {
		return patched, got, err
	}
	measured()
	got, err = s.request(ctx, get, s.Targets)
	measured()
	return patched, got, err
}

// warming is the part of a measurement's length for which the load runs before it.
const warming = 5

func (s Subject) request(ctx context.Context, k kind, targets []Target) (r Request, err error) {
	// A wrong token is an error, and is not measured.
	if err := s.Server.check(ctx, k.render(nil, s.Server, targets[0], numbers.Add(1))); err != nil {
		return r, err
	}
	l := s.load(k, targets, 0, s.Length/warming)
	if _, err := l.run(ctx); err != nil {
		return r, err
	}
	l.length = s.Length
	server, known := s.Process.cpu()
	own := ownCPU()
	done, err := l.run(ctx)
	if err != nil {
		return r, err
	}
	n := done.latency.TotalCount()
	if n == 0 {
		return r, fmt.Errorf("no %s was answered with 200, %d failed", k.name, done.errors)
	}
	r = Request{
		Method: k.name, Accounts: len(targets), PerSecond: float64(n) / done.length.Seconds(),
		P50: percentile(done.latency, 50), P99: percentile(done.latency, 99), Errors: done.errors,
		BenchCPU: float64((ownCPU() - own).Microseconds()) / float64(n),
	}
	if after, _ := s.Process.cpu(); known {
		r.ServerCPU = float64((after - server).Microseconds()) / float64(n)
	}
	return r, nil
}

func (s Subject) load(k kind, targets []Target, rate float64, length time.Duration) load {
	return load{to: s.Server, kind: k, targets: targets, connections: s.Connections, length: length, rate: rate}
}

// percentile is one of a histogram of microseconds, in milliseconds.
func percentile(h *hdrhistogram.Histogram, p float64) float64 {
	return float64(h.ValueAtPercentile(p)) / 1000
}
