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

	"github.com/nats-io/jwt/v2"
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

// DialConfig configures Dial. What a file holds is read when konto connects, and
// again whenever it has to connect anew, so a file may be exchanged.
type DialConfig struct {
	// URL may carry user and password or a token, or list several servers, separated
	// by commas; required.
	URL    string
	Creds  string // file with a user's JWT and seed
	Nkey   string // file with a user's seed
	Cert   string // file with konto's certificate, in PEM; with Key, its key
	Key    string
	CA     string       // file with the certificates that the server's is to be signed by; "" means the system's
	Domain string       // JetStream domain; "" means the one of the server
	Log    *slog.Logger // nil means slog.Default()
}

// Dial connects to an outside server. It returns at once, also while the server is
// away, and keeps trying. What can never be a server is an error, which does not
// repeat the URL: a password may be in it. So is a file that cannot be read, or does
// not hold what it should.
func Dial(cfg DialConfig) (*Conn, error) {
	for one := range strings.SplitSeq(cfg.URL, ",") {
		if !address(strings.TrimSpace(one)) {
			return nil, errors.New("connect to NATS: the URL is not of the form nats://host:4222")
		}
	}
	login, err := cfg.login()
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	return connect(cfg.URL, cfg.Domain, cfg.Log, login...)
}

// login tells the client how to prove who konto is, and whom it trusts. It reads all
// files once: the client would read some only when it connects, and try for ever.
func (cfg *DialConfig) login() ([]natsgo.Option, error) {
	var login []natsgo.Option
	if cfg.Creds != "" && cfg.Nkey != "" {
		return nil, errors.New("give credentials or an nkey, not both")
	}
	if (cfg.Cert == "") != (cfg.Key == "") {
		return nil, errors.New("a client certificate and its key are given together")
	}
	if cfg.Domain != "" && !token(cfg.Domain) {
		return nil, errors.New("a JetStream domain is one word of letters, digits, - and _")
	}
	if cfg.Creds != "" {
		creds := natsgo.UserCredentials(cfg.Creds)
		var tried natsgo.Options
		if err := creds(&tried); err != nil {
			return nil, err
		}
		user, err := tried.UserJWT()
		if err != nil {
			return nil, fmt.Errorf("credentials in %s: %w", cfg.Creds, err)
		}
		// The client takes any text for a JWT, and would send it to the server.
		if _, err := jwt.DecodeUserClaims(user); err != nil {
			return nil, fmt.Errorf("credentials in %s: there is no user's JWT in it", cfg.Creds)
		}
		if _, err := tried.SignatureCB([]byte("nonce")); err != nil {
			return nil, fmt.Errorf("credentials in %s: %w", cfg.Creds, err)
		}
		login = append(login, creds)
	}
	if cfg.Nkey != "" {
		nkey, err := natsgo.NkeyOptionFromSeed(cfg.Nkey)
		if err != nil {
			return nil, fmt.Errorf("nkey in %s: %w", cfg.Nkey, err)
		}
		login = append(login, nkey)
	}
	if cfg.Cert != "" {
		login = append(login, natsgo.ClientCert(cfg.Cert, cfg.Key))
	}
	if cfg.CA != "" {
		login = append(login, natsgo.RootCAs(cfg.CA))
	}
	return login, nil
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

func connect(url, domain string, log *slog.Logger, extra ...natsgo.Option) (*Conn, error) {
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
	async := []jetstream.JetStreamOpt{jetstream.WithPublishAsyncMaxPending(2 * window), jetstream.WithPublishAsyncTimeout(ackTimeout)}
	if domain == "" {
		c.js, err = jetstream.New(c.nc, async...)
	} else {
		c.js, err = jetstream.NewWithDomain(c.nc, domain, async...)
	}
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
