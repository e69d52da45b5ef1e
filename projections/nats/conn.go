package nats

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	neturl "net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"konto/projections"
)

const (
	reconnectWait = 250 * time.Millisecond
	drainTimeout  = 5 * time.Second

	// ackTimeout is longer than a replicated stream needs to elect a leader
	// (4 to 8 s), so that an election is waited out and not taken for a loss.
	ackTimeout = 10 * time.Second

	// window is how many messages are under way without an acknowledgement.
	window = 2000
)

// Conn is konto's own connection.
type Conn struct {
	nc       *natsgo.Conn
	js       jetstream.JetStream
	embedded bool // to a server in this process
	closed   chan struct{}
	tries    atomic.Int64 // to connect again
	outage   outage
	streams  streams
}

// Dial connects to an outside server, whose URL may carry user and password or
// a token, or list several servers, separated by commas. It returns at once,
// also while the server is away, and keeps trying. What can never be a server is
// an error, which does not repeat the URL: a password may be in it.
func Dial(url string, log *slog.Logger) (*Conn, error) {
	for one := range strings.SplitSeq(url, ",") {
		if !address(strings.TrimSpace(one)) {
			return nil, errors.New("connect to NATS: the URL is not of the form nats://host:4222")
		}
	}
	return connect(url, log)
}

// address tells whether a URL names a server. Scheme and port may be left out.
func address(server string) bool {
	if !strings.Contains(server, "://") {
		server = "nats://" + server
	}
	u, err := neturl.Parse(server)
	if err != nil || u.Hostname() == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
		return false
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	return u.Port() == "" || err == nil && port > 0
}

func connect(url string, log *slog.Logger, extra ...natsgo.Option) (*Conn, error) {
	if log == nil {
		log = slog.Default()
	}
	c := &Conn{closed: make(chan struct{}), outage: outage{log: log, secrets: secretsIn(url)}}
	made := make(chan struct{})
	opts := append([]natsgo.Option{
		natsgo.Name("konto"),
		natsgo.RetryOnFailedConnect(true),
		natsgo.MaxReconnects(-1),
		natsgo.IgnoreAuthErrorAbort(), // a server whose users are being changed is no reason to give up
		natsgo.CustomReconnectDelay(func(int) time.Duration {
			// Of a server that was reached and refused konto, or TLS with it, the client tells no handler.
			c.tries.Add(1)
			if <-made; c.nc.LastError() != nil {
				c.outage.failed(c.nc, c.nc.LastError())
			}
			return reconnectWait + rand.N(reconnectWait)
		}),
		natsgo.ReconnectErrHandler(c.outage.failed),
		// Nothing is kept in memory while the server is away: the log has it.
		natsgo.ReconnectBufSize(-1),
		natsgo.DrainTimeout(drainTimeout),
		natsgo.ClosedHandler(func(*natsgo.Conn) { close(c.closed) }),
		natsgo.ConnectHandler(func(nc *natsgo.Conn) {
			level := slog.LevelDebug
			if c.outage.over() {
				level = slog.LevelInfo
			}
			log.Log(context.Background(), level, "connected to NATS", "url", nc.ConnectedUrlRedacted())
		}),
		natsgo.ReconnectHandler(func(nc *natsgo.Conn) {
			c.outage.over()
			log.Info("connected to NATS again", "url", nc.ConnectedUrlRedacted())
		}),
		natsgo.DisconnectErrHandler(func(_ *natsgo.Conn, err error) {
			if err != nil { // nil: konto closed it
				log.Warn("connection to NATS lost", "error", err)
			}
		}),
		natsgo.ErrorHandler(func(nc *natsgo.Conn, _ *natsgo.Subscription, err error) {
			if refusesKonto(err) {
				c.outage.failed(nc, err) // comes with each try
				return
			}
			log.Warn("NATS", "error", err)
		}),
	}, extra...)
	var err error
	if c.nc, err = natsgo.Connect(url, opts...); err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	close(made)
	// Twice the window, so that the client never stalls: the publisher counts itself.
	c.js, err = jetstream.New(c.nc, jetstream.WithPublishAsyncMaxPending(2*window), jetstream.WithPublishAsyncTimeout(ackTimeout))
	if err != nil {
		c.nc.Close()
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	return c, nil
}

// Close drains the connection: what was received is handled, what was sent is
// flushed, for five seconds at most.
func (c *Conn) Close() {
	if err := c.nc.Drain(); err != nil && !errors.Is(err, natsgo.ErrConnectionReconnecting) {
		c.nc.Close() // it is closed already, or not connected: nothing to drain
	}
	<-c.closed
}

// Trouble tells why there is no connection, in a sentence without secrets; "" when
// there is one.
func (c *Conn) Trouble() string {
	switch why := c.outage.trouble.Text(); {
	case c.nc.IsConnected():
		return ""
	case why != "":
		return why
	}
	return "not connected"
}

// outage is a time without a connection. Each reason is logged once, and again
// when it changes.
type outage struct {
	log     *slog.Logger
	secrets *strings.Replacer
	trouble projections.Trouble

	mu   sync.Mutex
	told map[string]bool // by what reasons have in common whose ports and times differ
}

// failed is told why a try to connect failed.
func (o *outage) failed(nc *natsgo.Conn, err error) {
	if errors.Is(err, natsgo.ErrNoServers) {
		return // it is refused everywhere, which the next try says in more words
	}
	reason := o.secrets.Replace(why(err))
	o.trouble.Set(errors.New(reason))
	kind := differing.ReplaceAllString(reason, "")
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.told[kind] {
		return
	}
	if o.told == nil || len(nc.Servers()) == 1 { // several servers take turns, each with a reason
		o.told = map[string]bool{}
	}
	o.told[kind] = true
	o.log.Warn("NATS cannot be reached", "reason", reason)
}

// over tells whether there was an outage, and ends it.
func (o *outage) over() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.told = nil
	return o.trouble.Set(nil)
}

// refusesKonto tells whether a server was reached and does not let konto in.
func refusesKonto(err error) bool {
	return errors.Is(err, natsgo.ErrAuthorization) || errors.Is(err, natsgo.ErrAuthExpired) ||
		errors.Is(err, natsgo.ErrAuthRevoked) || errors.Is(err, natsgo.ErrAccountAuthExpired)
}

// why says what an error of the client's means to an operator.
func why(err error) string {
	var dns *net.DNSError
	var record tls.RecordHeaderError
	var timeout net.Error
	says := ""
	switch {
	case refusesKonto(err):
		says = "the server does not take konto's password, token or key"
	case errors.As(err, &dns) && dns.IsNotFound:
		says = "the server's host is unknown"
	case errors.As(err, &dns):
		says = "the server's host cannot be looked up"
	case errors.As(err, new(x509.UnknownAuthorityError)):
		says = "the server's certificate is of an authority that konto does not know"
	case errors.As(err, new(x509.HostnameError)):
		says = "the server's certificate is for another host"
	case errors.As(err, new(x509.CertificateInvalidError)):
		says = "the server's certificate is not valid"
	case errors.Is(err, natsgo.ErrSecureConnWanted):
		says = "the server offers no TLS"
	case errors.As(err, &record):
		says = "what answers does not speak TLS"
	case errors.Is(err, syscall.ECONNREFUSED):
		says = "nothing listens there"
	case errors.As(err, &timeout) && timeout.Timeout():
		says = "the server does not answer in time"
	default:
		return err.Error()
	}
	return says + " (" + err.Error() + ")"
}

// secretsIn replaces the passwords and tokens of URLs, should an error repeat them.
func secretsIn(urls string) *strings.Replacer {
	var pairs []string
	hide := func(secret string) {
		if secret != "" {
			pairs = append(pairs, secret, "xxxxx", neturl.QueryEscape(secret), "xxxxx")
		}
	}
	for one := range strings.SplitSeq(urls, ",") {
		one = strings.TrimSpace(one)
		if !strings.Contains(one, "://") {
			one = "nats://" + one
		}
		u, err := neturl.Parse(one)
		if err != nil || u.User == nil {
			continue
		}
		if password, ok := u.User.Password(); ok {
			hide(password)
		} else {
			hide(u.User.Username()) // a token
		}
	}
	return strings.NewReplacer(pairs...)
}
