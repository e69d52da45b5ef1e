package postgrestest

import (
	"fmt"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Proxy stands between clients and a server and does to the bytes what networks do.
type Proxy struct {
	Port int

	target   atomic.Int64 // a port
	delay    atomic.Int64
	dropping atomic.Bool
	cut      atomic.Pointer[func(answer []byte) bool]

	mu    sync.Mutex
	conns map[net.Conn]bool
}

// NewProxy starts a proxy before a port of this machine.
func NewProxy(t testing.TB, port int) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Port: l.Addr().(*net.TCPAddr).Port, conns: map[net.Conn]bool{}}
	p.Lead(port)
	t.Cleanup(func() {
		l.Close()
		p.Break()
	})
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(client)
		}
	}()
	return p
}

// Through returns a connection string that leads through the proxy.
func (p *Proxy) Through(t testing.TB, connection string) string {
	t.Helper()
	u, err := url.Parse(connection)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = fmt.Sprintf("127.0.0.1:%d", p.Port)
	return u.String()
}

// Lead makes new connections lead to another port of this machine.
func (p *Proxy) Lead(port int) { p.target.Store(int64(port)) }

// Delay makes all bytes take longer, in either direction.
func (p *Proxy) Delay(d time.Duration) { p.delay.Store(int64(d)) }

// Drop makes bytes disappear, or no longer. Connections stay open.
func (p *Proxy) Drop(on bool) { p.dropping.Store(on) }

// Break closes all connections.
func (p *Proxy) Break() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		conn.Close()
	}
}

// CutAnswers closes a connection instead of passing on an answer of the server for which cut
// returns true.
func (p *Proxy) CutAnswers(cut func(answer []byte) bool) { p.cut.Store(&cut) }

func (p *Proxy) serve(client net.Conn) {
	server, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p.target.Load()))
	if err != nil {
		client.Close()
		return
	}
	p.mu.Lock()
	p.conns[client], p.conns[server] = true, true
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.pass(server, client, func([]byte) bool { return false }) })
	both.Go(func() {
		p.pass(client, server, func(answer []byte) bool {
			cut := p.cut.Load()
			return cut != nil && (*cut)(answer)
		})
	})
	both.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, client)
	delete(p.conns, server)
}

// chunk is what was read at once, and when it is due.
type chunk struct {
	bytes []byte
	due   time.Time
}

// pass copies bytes until one side ends. Delayed bytes overtake nothing, and do not delay those
// behind them any further.
func (p *Proxy) pass(to, from net.Conn, cut func([]byte) bool) {
	defer to.Close()
	defer from.Close()
	chunks := make(chan chunk, 4096)
	defer close(chunks)
	go func() {
		defer to.Close()
		for c := range chunks {
			if wait := time.Until(c.due); wait > 0 {
				time.Sleep(wait)
			}
			if _, err := to.Write(c.bytes); err != nil {
				from.Close()
				for range chunks { // so that the reader never waits
				}
				return
			}
		}
	}()
	for {
		buf := make([]byte, 64<<10)
		n, err := from.Read(buf)
		if err != nil || cut(buf[:n]) {
			return
		}
		if !p.dropping.Load() {
			chunks <- chunk{buf[:n], time.Now().Add(time.Duration(p.delay.Load()))}
		}
	}
}
