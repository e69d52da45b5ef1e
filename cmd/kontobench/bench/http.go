package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Subject is a konto that is measured.
type Subject struct {
	Server      Server
	Process     Process
	Targets     []Target // accounts whose credentials may read and write
	Connections int
	Length      time.Duration // of each measurement
}

// HTTP measures PATCH and GET, over all accounts and over the last alone. tell is
// called after each of these four.
func (s Subject) HTTP(ctx context.Context, tell func()) (all []Request, err error) {
	for _, k := range []kind{patch, get} {
		for _, targets := range [][]Target{s.Targets, s.Targets[len(s.Targets)-1:]} {
			r, err := s.request(ctx, k, targets)
			if err != nil {
				return nil, err
			}
			all = append(all, r)
			tell()
		}
	}
	return all, nil
}

// Spread measures PATCH and GET over all accounts.
func (s Subject) Spread(ctx context.Context, tell func()) (patched, got Request, err error) {
	if patched, err = s.request(ctx, patch, s.Targets); err != nil {
		return patched, got, err
	}
	tell()
	got, err = s.request(ctx, get, s.Targets)
	tell()
	return patched, got, err
}

// warming is how much of a measurement's length goes before it, unmeasured.
const warming = 5

func (s Subject) request(ctx context.Context, k kind, targets []Target) (r Request, err error) {
	// A wrong token is told, and not measured.
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
