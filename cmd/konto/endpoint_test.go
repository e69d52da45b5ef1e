package main

import (
	"encoding/base64"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// endpoint is a third party's own server. It notes every request that reached
// it whole, in the order in which they came.
type endpoint struct {
	t       testing.TB
	name    string
	address string

	mu          sync.Mutex
	changed     chan struct{} // closed and replaced when any of what follows changes
	answer      func() int    // the status of the next answer; 0: none ever comes
	server      *http.Server  // nil while it is down
	receipts    []receipt
	taken       map[string]bool // webhook-ids of what was answered with success
	held        int             // requests without an answer
	connections int
}

// receipt is one request.
type receipt struct {
	id    string // webhook-id
	text  string // its body, that of a token being its claims
	taken bool
	at    time.Time
}

// always answers every request with a status, or none with 0.
func always(status int) func() int { return func() int { return status } }

// newEndpoint begins to listen on a free port.
func newEndpoint(t testing.TB, name string, answer func() int) *endpoint {
	t.Helper()
	e := &endpoint{
		t: t, name: name, address: "127.0.0.1:0", answer: answer,
		changed: make(chan struct{}), taken: map[string]bool{},
	}
	e.back()
	t.Cleanup(e.down)
	return e
}

// register makes it a third party of a data folder, whether that is served or not.
func (e *endpoint) register(folder string, args ...string) {
	e.t.Helper()
	must(e.t, append([]string{"third-party", "add", e.name, "--url", "http://" + e.address + "/hook", "--data", folder}, args...)...)
}

// change changes what mu guards.
func (e *endpoint) change(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f()
	close(e.changed)
	e.changed = make(chan struct{})
}

// answers sets how requests are answered from now on.
func (e *endpoint) answers(answer func() int) { e.change(func() { e.answer = answer }) }

// down cuts every connection off at once, as the end of a process does.
func (e *endpoint) down() {
	e.mu.Lock()
	server := e.server
	e.server = nil
	e.mu.Unlock()
	if server != nil {
		server.Close()
	}
}

// downMidway goes down while it has requests that it did not answer.
func (e *endpoint) downMidway() {
	e.t.Helper()
	answer := e.answer
	e.answers(always(0))
	e.until("has a request in hand", func() bool { return e.held > 0 })
	e.down()
	e.answers(answer)
}

// back listens on the port that it had before, if any.
func (e *endpoint) back() {
	e.t.Helper()
	l, err := net.Listen("tcp", e.address)
	if err != nil {
		e.t.Fatal(err)
	}
	e.address = l.Addr().String()
	server := &http.Server{Handler: e, ErrorLog: log.New(io.Discard, "", 0), ConnState: e.count}
	e.change(func() { e.server = server })
	go server.Serve(l)
}

func (e *endpoint) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		e.change(func() { e.connections++ })
	case http.StateClosed, http.StateHijacked:
		e.change(func() { e.connections-- })
	}
}

// ServeHTTP implements http.Handler.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := time.Now()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // it was cut off
	}
	status := e.note(r.Header.Get("webhook-id"), readableBody(r.Header.Get("Content-Type"), body), at)
	if status == 0 {
		<-r.Context().Done()
		e.change(func() { e.held-- })
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(status)
}

// note takes in a request and returns how it is to be answered.
func (e *endpoint) note(id, text string, at time.Time) (status int) {
	e.change(func() {
		status = e.answer()
		if status == 0 {
			e.held++
		}
		taken := status/100 == 2
		e.receipts = append(e.receipts, receipt{id, text, taken, at})
		if taken {
			e.taken[id] = true
		}
	})
	return status
}

// readableBody is a request's body, that of a token being what it claims.
func readableBody(media string, body []byte) string {
	if media != "application/secevent+jwt" {
		return string(body)
	}
	parts := strings.Split(string(body), ".")
	if len(parts) != 3 {
		return ""
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	return string(claims)
}

// until waits for a condition on what mu guards.
func (e *endpoint) until(what string, holds func() bool) {
	e.t.Helper()
	timeout := time.After(catchUpTime)
	for {
		e.mu.Lock()
		held, changed := holds(), e.changed
		requests, taken := len(e.receipts), len(e.taken)
		e.mu.Unlock()
		if held {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			e.t.Fatalf("%s never %s; it got %d requests and took %d events", e.name, what, requests, taken)
		}
	}
}

// untilTaken waits until it has taken so many events.
func (e *endpoint) untilTaken(n int) {
	e.t.Helper()
	e.until("took all events", func() bool { return len(e.taken) >= n })
}

// untilCutOff waits until a peer that was killed has no open connection, so
// that none of its requests can be noted after those of its successor.
func (e *endpoint) untilCutOff() {
	e.t.Helper()
	e.until("lost its connections", func() bool { return e.connections == 0 })
}

// tookSoFar counts the events that it has taken.
func (e *endpoint) tookSoFar() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.taken)
}

// got returns the requests so far.
func (e *endpoint) got() []receipt {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]receipt(nil), e.receipts...)
}
