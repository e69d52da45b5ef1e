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

	"github.com/nats-io/jwt/v2"
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
