package http

import (
	"io"
	"net/http"
	"time"
)

// timeouts says how long a server waits for its callers.
type timeouts struct {
	header time.Duration // for a request's line and headers
	body   time.Duration // for a body, in addition to what its length takes at the lowest rate
	rate   int           // the lowest rate of a body, in bytes per second
	answer time.Duration // from the headers to the end of the answer
	idle   time.Duration // for the next request of a connection
}

// defaultTimeouts allows 74 s for a body of maxBody. The answer's time includes it.
var defaultTimeouts = timeouts{header: 10 * time.Second, body: 10 * time.Second, rate: 1 << 10, answer: 2 * time.Minute, idle: 2 * time.Minute}

// maxHeader is the largest size of a request's line and headers, in bytes. net/http
// answers larger ones with 431.
const maxHeader = 32 << 10

// NewServer makes the server for New's handler. It disconnects senders that stop or
// send very slowly, and lets those finish that are only slow. A handler that streams
// its answer for longer than two minutes must extend the write deadline itself
// (http.ResponseController).
func NewServer(h http.Handler) *http.Server { return newServer(h, defaultTimeouts) }

func newServer(h http.Handler, p timeouts) *http.Server {
	return &http.Server{
		Handler:           limitSlowBodies(h, p),
		ReadHeaderTimeout: p.header,
		WriteTimeout:      p.answer,
		IdleTimeout:       p.idle,
		MaxHeaderBytes:    maxHeader,
	}
}

// limitSlowBodies makes the bodies of requests fail below the lowest rate.
func limitSlowBodies(h http.Handler, p timeouts) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body == nil || r.Body == http.NoBody {
			h.ServeHTTP(w, r)
			return
		}
		b := &timedBody{ReadCloser: r.Body, control: http.NewResponseController(w), timeouts: p, start: time.Now()}
		b.extend() // net/http itself reads what a handler leaves, and waits for it
		r.Body = b
		h.ServeHTTP(w, r)
	})
}

// timedBody extends the connection's read deadline as bytes arrive.
type timedBody struct {
	io.ReadCloser
	control *http.ResponseController
	timeouts
	start time.Time
	read  int
}

// Read implements io.Reader. Its error is os.ErrDeadlineExceeded if the sender is
// too slow.
func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read += n
	// At the end of the body net/http removes the deadline and reads on, to notice
	// when the caller disconnects. If a deadline were set then and passed, net/http
	// would take it for a disconnect and cancel the request.
	if err == nil {
		b.extend()
	}
	return n, err
}

// extend sets the read deadline for the bytes so far. SetReadDeadline fails only if
// there is no connection, and then nothing is slow.
func (b *timedBody) extend() {
	_ = b.control.SetReadDeadline(b.start.Add(b.body + time.Duration(b.read)*time.Second/time.Duration(b.rate)))
}
