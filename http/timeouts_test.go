package http

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// served connects to a server with defaultTimeouts. It is for synctest bubbles, where
// time advances when all goroutines wait. The connection has no buffers.
func served(t *testing.T, h http.HandlerFunc) (caller net.Conn) {
	caller, other := net.Pipe()
	listener := &pipe{conns: make(chan net.Conn, 1), closed: make(chan struct{})}
	listener.conns <- other
	server, done := NewServer(h), make(chan error)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		caller.Close()
		server.Close()
		if err := <-done; err != http.ErrServerClosed {
			t.Error(err)
		}
	})
	return caller
}

// pipe is a listener of one connection.
type pipe struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipe) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipe) Close() error   { close(p.closed); return nil }
func (p *pipe) Addr() net.Addr { return &net.UnixAddr{} }

var fullBody = "PATCH / HTTP/1.1\r\nHost: a\r\nContent-Length: 65536\r\n\r\n" + strings.Repeat("x", maxBody)

// drip writes text to the server in pieces, with a pause between them.
func drip(caller net.Conn, text string, piece int, pause time.Duration) {
	next := time.NewTicker(pause)
	defer next.Stop()
	for len(text) > 0 {
		n := min(piece, len(text))
		if _, err := io.WriteString(caller, text[:n]); err != nil {
			return // disconnected, which the test checks elsewhere
		}
		text = text[n:]
		<-next.C
	}
}

// untilDisconnected returns how long the server keeps the connection open.
func untilDisconnected(caller net.Conn, since time.Time) time.Duration {
	_, _ = io.Copy(io.Discard, caller)
	return time.Since(since)
}

func TestSlowSenderAboveTheLowestRateFinishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got, start := make(chan error, 1), time.Now()
		caller := served(t, func(w http.ResponseWriter, r *http.Request) {
			data, err := io.ReadAll(r.Body)
			if err == nil && len(data) != maxBody {
				err = fmt.Errorf("%d bytes", len(data))
			}
			got <- err
		})
		drip(caller, fullBody, 1200, time.Second)
		if err := <-got; err != nil || time.Since(start) < 50*time.Second {
			t.Errorf("%v after %s", err, time.Since(start))
		}
	})
}

func TestSenderBelowTheLowestRateIsDisconnected(t *testing.T) {
	for name, pause := range map[string]time.Duration{"a drip": 4 * time.Second, "a stall": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := make(chan error, 1)
				caller := served(t, func(w http.ResponseWriter, r *http.Request) {
					_, err := io.ReadAll(r.Body)
					got <- err
				})
				var sender sync.WaitGroup
				sender.Go(func() { drip(caller, fullBody, 1000, pause) })
				cut := untilDisconnected(caller, time.Now())
				if err := <-got; !errors.Is(err, os.ErrDeadlineExceeded) || cut > 20*time.Second {
					t.Errorf("%v, cut after %s", err, cut)
				}
				sender.Wait()
			})
		})
	}
}

func TestStalledSenderIsDisconnectedIfTheBodyIsNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		caller := served(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
		fmt.Fprint(caller, fullBody[:len(fullBody)-maxBody+1])
		if cut := untilDisconnected(caller, time.Now()); cut > defaultTimeouts.body+time.Second {
			t.Errorf("cut after %s", cut)
		}
	})
}

func TestStalledHeadersAndIdleConnectionsAreDisconnected(t *testing.T) {
	for name, test := range map[string]struct {
		sent string
		want time.Duration
	}{
		"nothing sent":      {"", defaultTimeouts.header},
		"headers stall":     {"GET / HTTP/1.1\r\nHost", defaultTimeouts.header},
		"no second request": {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", defaultTimeouts.idle},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				caller, start := served(t, func(http.ResponseWriter, *http.Request) {}), time.Now()
				fmt.Fprint(caller, test.sent)
				if cut := untilDisconnected(caller, start); cut != test.want {
					t.Errorf("cut after %s, want %s", cut, test.want)
				}
			})
		})
	}
}

func TestDeadlineOfTheBodyDoesNotCancelALongHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		caller := served(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.ReadAll(r.Body)
			select {
			case <-r.Context().Done():
				w.WriteHeader(http.StatusInternalServerError)
			case <-time.After(time.Minute):
			}
		})
		fmt.Fprint(caller, "PATCH / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
		answer, err := http.ReadResponse(bufio.NewReader(caller), nil)
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Errorf("%v, %v", answer, err)
		}
	})
}

func TestCallerWhoDoesNotReadTheAnswerIsDisconnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed, start := make(chan error, 1), time.Now()
		caller := served(t, func(w http.ResponseWriter, r *http.Request) {
			_, err := w.Write(make([]byte, 1<<20))
			failed <- err
		})
		fmt.Fprint(caller, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != defaultTimeouts.answer {
			t.Errorf("%v after %s", err, time.Since(start))
		}
	})
}

func TestHeadersAboveTheLimitAreRefused(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	server.Config = NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Start()
	defer server.Close()
	for size, want := range map[int]int{maxHeader / 2: 200, 2 * maxHeader: 431} {
		r, err := http.NewRequest("GET", server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Cookie", strings.Repeat("a", size))
		answer, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%d bytes: %s", size, answer.Status)
		}
	}
}

// TestSlowBodyIsAnsweredByItsContractAndStoresNothing stops in the middle of the
// body, on a real connection.
func TestSlowBodyIsAnsweredByItsContractAndStoresNothing(t *testing.T) {
	h := anna(t)
	server := httptest.NewUnstartedServer(nil)
	server.Config = newServer(New(h.cfg), timeouts{header: time.Minute, body: 50 * time.Millisecond, rate: 1 << 20, answer: time.Minute, idle: time.Minute})
	server.Start()
	defer server.Close()
	for path, test := range map[string]struct{ method, key, want string }{
		"/api/v2/me":                {"PATCH", "key", `"code":"request_timeout"`},
		"/external/api/v1/accounts": {"PUT", "client", `"code":"request_timeout"`},
		"/v1/account":               {"PATCH", "key", `"error":"request_timeout"`},
	} {
		before := h.head()
		caller, err := net.Dial("tcp", server.Listener.Addr().String())
		h.must(err)
		fmt.Fprintf(caller, "%s %s HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 19\r\n\r\n"+`{"name":`,
			test.method, path, h.words[test.key])
		answer, err := http.ReadResponse(bufio.NewReader(caller), nil)
		h.must(err)
		body, err := io.ReadAll(answer.Body)
		h.must(err)
		if answer.StatusCode != http.StatusRequestTimeout || !answer.Close || !strings.Contains(string(body), test.want) || h.head() != before {
			t.Errorf("%s: %s, %s, head %d after %d", path, answer.Status, body, h.head(), before)
		}
		caller.Close()
	}
}
