package webhook

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"konto/events"
)

// rawEndpoint is a TCP server that calls a function for each connection, and otherwise keeps it
// open until the test ends.
func rawEndpoint(t *testing.T, serve func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	ended := make(chan struct{})
	open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer c.Close()
				serve(c)
				<-ended
			})
		}
	})
	t.Cleanup(func() {
		close(ended)
		l.Close()
		open.Wait()
	})
	return l.Addr().String()
}

// readHead waits for a request.
func readHead(c net.Conn) { _, _ = c.Read(make([]byte, 4096)) }

func TestProblemsOfUnansweredRequests(t *testing.T) {
	h := newHarness(t)
	e := h.changed()
	s := h.sender()
	h.cfg.Timeout = 300 * time.Millisecond
	impatient := h.sender() // for what ends in no other way
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	secure := httptest.NewTLSServer(http.HandlerFunc(status(200)))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(secure.Close)
	long, _ := endpoint(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("x", maxHeader))
	})
	silent := rawEndpoint(t, func(net.Conn) {})
	for name, test := range map[string]struct{ url, want string }{
		"refused": {"http://" + closed.Addr().String(), "connection refused"},
		"reset": {"http://" + rawEndpoint(t, func(c net.Conn) {
			readHead(c)
			_ = c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}), "connection reset"},
		"closed": {"http://" + rawEndpoint(t, func(c net.Conn) {
			readHead(c)
			c.Close()
		}), "connection closed"},
		"silent":         {"http://" + silent, "timeout"},
		"hanging TLS":    {"https://" + silent, "timeout"},
		"a slow head":    {"http://" + rawEndpoint(t, func(c net.Conn) { readHead(c); _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX: ") }), "timeout"},
		"no HTTP":        {"http://" + rawEndpoint(t, func(c net.Conn) { readHead(c); _, _ = io.WriteString(c, "220 smtp secret\r\n\r\n") }), "no HTTP answer"},
		"no TLS":         {"https://" + strings.TrimPrefix(long, "http://"), "TLS: endpoint answers without it"},
		"a strange cert": {secure.URL, "TLS: certificate not valid"},
		"a long head":    {long, "no HTTP answer"},
		"no scheme":      {"//secret", "no HTTP answer"},
		"no URL":         {"http://secret\x7f", "URL is not valid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			to := party(events.FormatPayway, test.url)
			if !strings.Contains(test.url, "secret") {
				to.URL += "/secret"
			}
			sender := s
			if test.want == "timeout" {
				sender = impatient
			}
			if a := sender.Send(t.Context(), to, e); a.Verdict != Failed || a.Status != 0 || a.Problem != test.want {
				t.Errorf("%+v", a)
			}
		})
	}
}

// That the process has no free file descriptor says nothing about the third party.
func TestTooManyOpenFilesAreUnsent(t *testing.T) {
	for _, number := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE} {
		err := &url.Error{Op: "Post", Err: &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", number)}}
		if a := unanswered(t.Context(), err, time.Second); a.Verdict != Unsent || !strings.Contains(a.Problem, "too many files") {
			t.Errorf("%s: %+v", number, a)
		}
	}
}
