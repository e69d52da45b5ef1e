package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	neturl "net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/jwt/v2"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"konto/projections/nats/subjects"
)

const (
	reconnectWait = 250 * time.Millisecond
	drainTimeout  = 5 * time.Second

	// ackTimeout is longer than a replicated stream needs to elect a leader (4 to 8 s): konto waits
	// for the election instead of taking it for a loss.
	ackTimeout = 10 * time.Second
)

// Conn is konto's connection to a NATS server.
type Conn struct {
	nc       *natsgo.Conn
	js       jetstream.JetStream
	embedded bool // the server is in this process
	closed   chan struct{}
	tries    atomic.Int64 // to connect again
	outage   outage
	streams  streams
}

// DialConfig configures Dial. konto reads the files at each new connection, so an operator may
// replace them.
type DialConfig struct {
	// URL may contain user and password or a token, and may list several servers, separated by
	// commas; required.
	URL    string
	Creds  string       // file with a user's JWT and seed
	Nkey   string       // file with a user's seed
	Cert   string       // file with konto's certificate, in PEM; given together with Key
	Key    string       // file with the key of Cert
	CA     string       // file with the certificates of the server's CA; "" means the system's
	Domain string       // JetStream domain; "" means the server's
	Log    *slog.Logger // nil means slog.Default()
}

// Dial connects to an outside server. It returns at once, also if the server is not reachable, and
// keeps trying. It returns an error if the URL cannot be one of a server, or if a file cannot be read
// or does not hold what it should. The error does not contain the URL, which may hold a password.
func Dial(cfg DialConfig) (*Conn, error) {
	for one := range strings.SplitSeq(cfg.URL, ",") {
		if !isServerURL(strings.TrimSpace(one)) {
			return nil, errors.New("connect to NATS: the URL is not of the form nats://host:4222")
		}
	}
	login, err := cfg.login()
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	return connect(cfg.URL, cfg.Domain, cfg.Log, login...)
}

// DialInProcess connects to a server in this process, with the options that it gives for that. log
// may be nil.
func DialInProcess(log *slog.Logger, options ...natsgo.Option) (*Conn, error) {
	c, err := connect("", "", log, options...)
	if err == nil {
		c.embedded = true
	}
	return c, err
}

// login returns the options that prove who konto is, and that say whom it trusts. It reads all files
// once. The client reads some of them only when it connects, and would retry forever.
func (cfg *DialConfig) login() ([]natsgo.Option, error) {
	var login []natsgo.Option
	if cfg.Creds != "" && cfg.Nkey != "" {
		return nil, errors.New("give credentials or an nkey, not both")
	}
	if (cfg.Cert == "") != (cfg.Key == "") {
		return nil, errors.New("a client certificate and its key are given together")
	}
	if cfg.Domain != "" && !subjects.IsToken(cfg.Domain) {
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
		// The client accepts any text as a JWT, and would send it to the server.
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

// isServerURL reports whether a URL names a server. Scheme and port may be left out.
func isServerURL(server string) bool {
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

// connect connects to a server. extra are the options for the login.
func connect(url, domain string, log *slog.Logger, extra ...natsgo.Option) (*Conn, error) {
	if log == nil {
		log = slog.Default()
	}
	c := &Conn{closed: make(chan struct{}), outage: outage{log: log, secrets: secretsIn(url)}}
	made := make(chan struct{})
	var err error
	if c.nc, err = natsgo.Connect(url, append(c.options(made), extra...)...); err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	close(made)
	if timeout := jetstream.WithPublishAsyncTimeout(ackTimeout); domain == "" {
		c.js, err = jetstream.New(c.nc, timeout)
	} else {
		c.js, err = jetstream.NewWithDomain(c.nc, domain, timeout)
	}
	if err != nil {
		c.nc.Close()
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	return c, nil
}

// options keep the connection trying, and log its outages. made is closed once c.nc is set.
func (c *Conn) options(made <-chan struct{}) []natsgo.Option {
	log := c.outage.log
	return []natsgo.Option{
		natsgo.Name("konto"),
		natsgo.RetryOnFailedConnect(true),
		natsgo.MaxReconnects(-1),
		natsgo.IgnoreAuthErrorAbort(), // the server's users may be about to change
		natsgo.CustomReconnectDelay(func(int) time.Duration {
			// If a server was reached and refused konto, or TLS with it, the client calls no handler.
			c.tries.Add(1)
			if <-made; c.nc.LastError() != nil {
				c.outage.failed(c.nc, c.nc.LastError())
			}
			return reconnectWait + rand.N(reconnectWait)
		}),
		natsgo.ReconnectErrHandler(c.outage.failed),
		// The client buffers nothing while the server is away: the log has it.
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
			if refusesLogin(err) {
				c.outage.failed(nc, err) // it comes with each try
				return
			}
			log.Warn("NATS", "error", err)
		}),
	}
}

// Close drains the connection: it handles what was received and flushes what was sent, for five
// seconds at most.
func (c *Conn) Close() {
	if err := c.nc.Drain(); err != nil && !errors.Is(err, natsgo.ErrConnectionReconnecting) {
		c.nc.Close() // it is closed already, or not connected: there is nothing to drain
	}
	<-c.closed
}

// Trouble says in a sentence without secrets why there is no connection. It is "" if there is one.
func (c *Conn) Trouble() string {
	switch why := c.outage.trouble.Text(); {
	case c.nc.IsConnected():
		return ""
	case why != "":
		return why
	}
	return "not connected"
}
