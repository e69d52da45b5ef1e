package nats

import (
	"errors"
	"fmt"
	"log/slog"
	neturl "net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
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
	c := &Conn{closed: make(chan struct{})}
	opts := append([]natsgo.Option{
		natsgo.Name("konto"),
		natsgo.RetryOnFailedConnect(true),
		natsgo.MaxReconnects(-1),
		natsgo.IgnoreAuthErrorAbort(), // a server whose users are being changed is no reason to give up
		natsgo.ReconnectWait(reconnectWait),
		natsgo.ReconnectJitter(reconnectWait, reconnectWait),
		// Nothing is kept in memory while the server is away: the log has it.
		natsgo.ReconnectBufSize(-1),
		natsgo.DrainTimeout(drainTimeout),
		natsgo.ClosedHandler(func(*natsgo.Conn) { close(c.closed) }),
		natsgo.ConnectHandler(func(nc *natsgo.Conn) { log.Debug("connected to NATS", "url", nc.ConnectedUrlRedacted()) }),
		natsgo.ReconnectHandler(func(nc *natsgo.Conn) { log.Info("connected to NATS again", "url", nc.ConnectedUrlRedacted()) }),
		natsgo.DisconnectErrHandler(func(_ *natsgo.Conn, err error) {
			if err != nil { // nil: konto closed it
				log.Warn("connection to NATS lost", "error", err)
			}
		}),
		natsgo.ErrorHandler(func(_ *natsgo.Conn, _ *natsgo.Subscription, err error) { log.Warn("NATS", "error", err) }),
	}, extra...)
	var err error
	if c.nc, err = natsgo.Connect(url, opts...); err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
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
