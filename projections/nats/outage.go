package nats

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	neturl "net/url"
	"regexp"
	"strings"
	"sync"
	"syscall"

	natsgo "github.com/nats-io/nats.go"

	"konto/projections"
)

// outage is the time without a connection. It logs each reason once, and again when it changes.
type outage struct {
	log     *slog.Logger
	secrets *strings.Replacer
	trouble projections.Trouble

	mu     sync.Mutex
	logged map[string]bool // by reason, without what varies in it
}

// varying are the parts of a reason that differ from try to try: quoted text, addresses, ports, times.
var varying = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|[0-9a-fA-F.:]*[0-9][0-9a-fA-F.:]*`)

// failed records why a try to connect failed.
func (o *outage) failed(nc *natsgo.Conn, err error) {
	if errors.Is(err, natsgo.ErrNoServers) {
		return // every server refused konto; the next try says so in more words
	}
	reason := o.secrets.Replace(explain(err))
	o.trouble.Set(errors.New(reason))
	kind := varying.ReplaceAllString(reason, "")
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.logged[kind] {
		return
	}
	if o.logged == nil || len(nc.Servers()) == 1 { // several servers are tried in turn, each with a reason of its own
		o.logged = map[string]bool{}
	}
	o.logged[kind] = true
	o.log.Warn("NATS cannot be reached", "reason", reason)
}

// over ends the outage, and reports whether there was one.
func (o *outage) over() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.logged = nil
	return o.trouble.Set(nil)
}

// refusesLogin reports whether a server was reached and refuses konto's credentials.
func refusesLogin(err error) bool {
	return errors.Is(err, natsgo.ErrAuthorization) || errors.Is(err, natsgo.ErrAuthExpired) ||
		errors.Is(err, natsgo.ErrAuthRevoked) || errors.Is(err, natsgo.ErrAccountAuthExpired)
}

// explain says what an error of the client means to an operator.
func explain(err error) string {
	var dns *net.DNSError
	var record tls.RecordHeaderError
	var timeout net.Error
	says := ""
	switch {
	case refusesLogin(err):
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

// secretsIn returns a Replacer for the passwords and tokens in URLs, because an error may repeat
// them.
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
