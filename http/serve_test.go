package http

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// serve puts the harness behind another server: with rate-limit=, origin= (may be
// repeated) and body-timeout=, the time that a body may take.
func (s *script) serve(spec string) {
	cfg, p := s.cfg, defaultTimeouts
	for _, field := range strings.Fields(spec) {
		name, value, _ := strings.Cut(field, "=")
		var err error
		switch name {
		case "rate-limit":
			cfg.RateLimit, err = ParseRateLimit(value)
		case "origin":
			cfg.AllowedOrigins = append(cfg.AllowedOrigins, value)
		case "email-change-policy":
			cfg.EmailChangePolicy, err = ParseEmailChangePolicy(value)
		case "session-email-change":
			cfg.SessionEmailChange, err = strconv.ParseBool(value)
		case "body-timeout":
			p.body, err = time.ParseDuration(value)
			p.rate = 1 << 20
		default:
			s.t.Fatalf("serve has no %q", name)
		}
		s.must(err)
	}
	cfg.Now = s.clock.now
	s.server = httptest.NewUnstartedServer(nil)
	s.server.Config = newServer(New(cfg), p)
	s.server.Start()
	s.t.Cleanup(s.server.Close)
}

// clock is a server's time. Until it is set it is the real time.
type clock struct{ stopped atomic.Pointer[time.Time] }

func (c *clock) now() time.Time {
	if t := c.stopped.Load(); t != nil {
		return *t
	}
	return time.Now()
}

// setClock sets the server's time, or advances it by "+" and a duration. A serve line
// of the script must come before.
func (s *script) setClock(text string) {
	to, err := time.Parse(time.RFC3339, text)
	if strings.HasPrefix(text, "+") {
		var by time.Duration
		by, err = time.ParseDuration(text)
		to = s.clock.now().Add(by)
	}
	s.must(err)
	s.clock.stopped.Store(&to)
}

// stall announces a body of the given length, of which the rest never comes.
func stall(t *testing.T, r *http.Request, length string) {
	n, err := strconv.ParseInt(length, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	rest, sender := io.Pipe()
	t.Cleanup(func() { sender.Close() })
	r.ContentLength, r.GetBody = n, nil
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(r.Body, rest), rest}
}

// gunzipped decompresses the result of gzipped.
func gunzipped(t *testing.T, packed []byte) []byte {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
