package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// patience bounds one exchange, so that a server that hangs ends a measurement.
const patience = 30 * time.Second

// Server is the address that requests are sent to.
type Server struct {
	secure bool
	host   string // as in the Host header
}

// ParseServer reads a base URL such as http://127.0.0.1:8080.
func ParseServer(base string) (Server, error) {
	u, err := url.Parse(base)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil ||
		u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return Server{}, errors.New("it is not an http or https URL with only a host")
	}
	return Server{secure: u.Scheme == "https", host: u.Host}, nil
}

func (s Server) dial(ctx context.Context) (net.Conn, error) {
	address := s.host
	if _, _, err := net.SplitHostPort(address); err != nil {
		address = net.JoinHostPort(address, map[bool]string{false: "80", true: "443"}[s.secure])
	}
	if s.secure {
		return new(tls.Dialer).DialContext(ctx, "tcp", address)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", address)
}

// client is one connection that is kept open, with one request at a time.
//
// It is not an http.Client, because that uses about as much CPU as the server does. On a machine
// that both share, half of what is measured would be the load generator. client writes bytes that
// are ready, and reads the status, the ETag and the announced number of bytes of an answer. Anything
// else, such as an answer in chunks, is an error.
type client struct {
	to   Server
	conn net.Conn // nil until the first request, and after an error
	from *bufio.Reader
	stop func() bool // of the watch over ctx
}

// answer is the part of an answer that is kept.
type answer struct {
	status  int
	version uint64 // of the ETag, 0 without one
	body    []byte // valid until the next request
}

var errAnswer = errors.New("the server's answer is not HTTP/1.1 as konto speaks it")

// do sends a complete request. After an error the next request uses a new connection, and it is
// not known whether the server handled this one.
func (c *client) do(ctx context.Context, request []byte) (a answer, err error) {
	if c.conn == nil {
		if err := c.open(ctx); err != nil {
			return a, err
		}
	}
	if _, err = c.conn.Write(request); err == nil {
		a, err = c.read()
	}
	if err != nil {
		c.close()
	}
	return a, err
}

func (c *client) open(ctx context.Context) (err error) {
	if c.conn, err = c.to.dial(ctx); err != nil {
		c.conn = nil
		return err
	}
	conn := c.conn
	c.stop = context.AfterFunc(ctx, func() { conn.Close() })
	c.from = bufio.NewReaderSize(conn, 16<<10)
	return nil
}

func (c *client) close() {
	if c.conn != nil {
		c.stop()
		c.conn.Close()
		c.conn = nil
	}
}

// until sets the deadline of the exchanges.
func (c *client) until(t time.Time) {
	if c.conn != nil {
		c.conn.SetDeadline(t)
	}
}

func (c *client) read() (a answer, err error) {
	line, err := c.from.ReadSlice('\n')
	if err != nil {
		return a, err
	}
	if len(line) < 12 || string(line[:9]) != "HTTP/1.1 " {
		return a, errAnswer
	}
	if a.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return a, errAnswer
	}
	length := -1
	for {
		if line, err = c.from.ReadSlice('\n'); err != nil {
			return a, err
		}
		name, value, _ := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(":"))
		switch {
		case len(name) == 0:
			a.body, err = c.body(a.status, length)
			return a, err
		case len(name) == 4 && bytes.EqualFold(name, []byte("ETag")):
			a.version, err = strconv.ParseUint(string(bytes.Trim(value, ` "`)), 10, 64)
		case len(name) == 14 && bytes.EqualFold(name, []byte("Content-Length")):
			length, err = strconv.Atoi(string(bytes.TrimSpace(value)))
		}
		if err != nil {
			return a, errAnswer
		}
	}
}

// body returns a body that fits into the buffer, in place, and discards a longer one.
func (c *client) body(status, length int) (body []byte, err error) {
	if status == http.StatusNoContent || status == http.StatusNotModified {
		return nil, nil
	}
	if length < 0 {
		return nil, errAnswer
	}
	if length <= c.from.Size() {
		body, err = c.from.Peek(length)
	}
	if err == nil {
		_, err = c.from.Discard(length)
	}
	return body, err
}

// check makes one request. Its error says what is wrong with the answer.
func (s Server) check(ctx context.Context, request []byte) error {
	c := &client{to: s}
	defer c.close()
	a, err := c.do(ctx, request)
	if err != nil {
		return fmt.Errorf("ask %s: %w", s.host, err)
	}
	if a.status != http.StatusOK {
		return fmt.Errorf("%s answered %d instead of 200", s.host, a.status)
	}
	return nil
}
