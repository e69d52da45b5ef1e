package http

import (
	"io"
	"net/http"
	"time"
)

// patience is how long a server waits for its callers.
type patience struct {
	header time.Duration // for a request's line and headers
	body   time.Duration // for a body, beside what its length takes at the least rate
	rate   int           // the least rate of a body, in bytes a second
	answer time.Duration // from the headers to the end of the answer
	idle   time.Duration // for the next request of a connection
}

// usual lets a body of maxBody take 74 s. The answer's time has to cover it.
var usual = patience{header: 10 * time.Second, body: 10 * time.Second, rate: 1 << 10, answer: 2 * time.Minute, idle: 2 * time.Minute}

// maxHeader bounds a request's line and headers, in bytes; net/http answers
// larger ones with 431.
const maxHeader = 32 << 10

// NewServer makes the server that New's handler is meant to run in. It cuts
// senders that stall or drip, and lets slow ones finish. A handler that streams
// its answer for longer than two minutes must lift the write deadline itself
// (http.ResponseController).
func NewServer(h http.Handler) *http.Server { return newServer(h, usual) }

func newServer(h http.Handler, p patience) *http.Server {
	return &http.Server{
		Handler:           paced(h, p),
		ReadHeaderTimeout: p.header,
		WriteTimeout:      p.answer,
		IdleTimeout:       p.idle,
		MaxHeaderBytes:    maxHeader,
	}
}

// paced holds the bodies of requests to the least rate.
func paced(h http.Handler, p patience) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body == nil || r.Body == http.NoBody {
			h.ServeHTTP(w, r)
			return
		}
		b := &pacedBody{ReadCloser: r.Body, control: http.NewResponseController(w), patience: p, start: time.Now()}
		b.allow() // net/http itself reads what a handler leaves, and waits for it
		r.Body = b
		h.ServeHTTP(w, r)
	})
}

// pacedBody moves the connection's read deadline on as bytes come in.
type pacedBody struct {
	io.ReadCloser
	control *http.ResponseController
	patience
	start time.Time
	read  int
}

// Read implements io.Reader. Its error is os.ErrDeadlineExceeded when the
// sender is too slow.
func (b *pacedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read += n
	// At the body's end net/http lifts the deadline and reads on, to see the caller
	// go. A deadline set then would look like that when it passes, and cancel the
	// request.
	if err == nil {
		b.allow()
	}
	return n, err
}

// allow fails only where there is no connection that could be slow.
func (b *pacedBody) allow() {
	_ = b.control.SetReadDeadline(b.start.Add(b.body + time.Duration(b.read)*time.Second/time.Duration(b.rate)))
}
