package bench

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
)

// Hooks is the server of a third party. It records when each webhook arrived.
type Hooks struct {
	server   *http.Server
	address  string
	expected int // how many events must arrive

	mu      sync.Mutex // for the fields below
	first   map[ulid.ULID]time.Time
	arrival chan struct{} // closed and replaced at each arrival
}

// OpenHooks listens on a free port of this machine.
func OpenHooks() (*Hooks, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	h := &Hooks{address: l.Addr().String(), first: map[ulid.ULID]time.Time{}, arrival: make(chan struct{})}
	h.server = &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	go h.server.Serve(l)
	return h, nil
}

// URL returns the address for webhooks.
func (h *Hooks) URL() string { return "http://" + h.address + "/" }

// Close frees the port.
func (h *Hooks) Close() error { return h.server.Close() }

// ServeHTTP implements http.Handler.
func (h *Hooks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := time.Now()
	if id, err := ulid.ParseStrict(r.Header.Get("Webhook-Id")); err == nil {
		h.note(id, at)
	}
	io.Copy(io.Discard, r.Body) // so that the connection is used again
	w.WriteHeader(http.StatusNoContent)
}

func (h *Hooks) note(id ulid.ULID, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, again := h.first[id]; again {
		return
	}
	h.first[id] = at
	close(h.arrival)
	h.arrival = make(chan struct{})
}

func (h *Hooks) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.first)
}

func (h *Hooks) arrived(id ulid.ULID) (at time.Time, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at, ok = h.first[id]
	return at, ok
}

// wait returns when all expected webhooks have arrived.
func (h *Hooks) wait(ctx context.Context, atMost time.Duration) error {
	late := time.NewTimer(atMost)
	defer late.Stop()
	for {
		h.mu.Lock()
		n, arrival := len(h.first), h.arrival
		h.mu.Unlock()
		if n >= h.expected {
			return nil
		}
		select {
		case <-arrival:
		case <-late.C:
			return fmt.Errorf("of %d webhooks only %d arrived", h.expected, n)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
