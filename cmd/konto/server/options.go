package server

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"konto/cmd/konto/datafolder"
	kontohttp "konto/http"
	"konto/projections/deliveries"
	"konto/projections/nats"
)

// Options are the flags of a server.
type Options struct {
	HTTP       string `name:"http" default:"127.0.0.1:8080" placeholder:"ADDRESS" help:"Where to answer HTTP; port 0 takes a free one."`
	AdminHTTP  string `name:"admin-http" placeholder:"ADDRESS" help:"Where to answer administrators, at /admin/v1; the address of --http unless given."`
	NATSListen string `name:"nats-listen" default:"127.0.0.1:4222" placeholder:"ADDRESS|off" help:"Where the embedded NATS server listens for consumers; off: nowhere."`
	NATSURL    string `name:"nats-url" placeholder:"URL" help:"Publish to this NATS server, and run none; the servers of a cluster with commas between. A password or token is accepted only in the variable."`
	Node       string `name:"node" placeholder:"NAME" help:"Name of this node among those that share --store."`

	Drain *time.Duration `name:"drain" placeholder:"DURATION" help:"How long to answer on after the first interrupt, while /readyz is a 503, so that a proxy sends requests elsewhere. 5s with --store, otherwise 0s."`

	// Version is konto's, for logs and metrics.
	Version string `kong:"-"`
	// Access gets a line for each request; nil: there is none.
	Access *slog.Logger `kong:"-"`
	// Audit gets a line for each administrative act; nil: there is none.
	Audit *slog.Logger `kong:"-"`

	LogOptions `set:"log_level=info"`

	Retention time.Duration `name:"retention" default:"168h" placeholder:"DURATION" help:"How long the stream KONTO keeps events, 1h to 87600h; the log keeps them forever. The same for all nodes."`

	TLSOptions
	NATSOptions
	WebOptions
	MailOptions
	SenderOptions
	DeliveryOptions
}

// Validate is called by the parser, so that a wrong value is wrong usage.
func (c *Options) Validate() error {
	if c.Drain != nil && *c.Drain < 0 {
		return errors.New("--drain must not be negative")
	}
	if c.Retention < time.Hour || c.Retention > 87600*time.Hour {
		return fmt.Errorf("--retention is from 1h to 87600h, not %s", c.Retention)
	}
	return cmp.Or(c.TLSOptions.validate(c.NATSURL), c.NATSOptions.validate(c.NATSURL), c.WebOptions.Validate(), c.MailOptions.Validate(), c.SenderOptions.Validate(), c.DeliveryOptions.Validate())
}

// CheckPostgres returns what is wrong with the flags if the log is in Postgres, or if it is not.
func (c *Options) CheckPostgres(p datafolder.Postgres) error {
	switch {
	case !p.Shared() && c.Node != "":
		return errors.New("--node goes with --store")
	case !p.Shared():
		return nil
	case c.Node == "":
		return errors.New("--store needs --node: give each node that shares the store a name")
	case c.NATSURL == "":
		return errors.New("--store needs --nats-url: the embedded NATS server serves one node alone")
	case c.SMTPURL == "":
		return errors.New("--store needs --smtp-url: any node may have to mail a code, and a file in its folder would be found by nobody")
	}
	return nil
}

// TLSOptions are the flags about encrypted connections. The zero value has none.
type TLSOptions struct {
	TLSCert     string `name:"tls-cert" placeholder:"FILE" help:"Certificate (PEM, with its chain) to answer https instead of http; needs --tls-key. It is read again when the file changes."`
	TLSKey      string `name:"tls-key" placeholder:"FILE" help:"Key (PEM) of --tls-cert."`
	NATSTLSCert string `name:"nats-tls-cert" placeholder:"FILE" help:"Certificate (PEM) of the embedded NATS server, which then refuses connections without TLS; needs --nats-tls-key."`
	NATSTLSKey  string `name:"nats-tls-key" placeholder:"FILE" help:"Key (PEM) of --nats-tls-cert."`
}

func (o *TLSOptions) validate(natsURL string) error {
	switch {
	case (o.TLSCert == "") != (o.TLSKey == ""):
		return errors.New("--tls-cert and --tls-key go together")
	case (o.NATSTLSCert == "") != (o.NATSTLSKey == ""):
		return errors.New("--nats-tls-cert and --nats-tls-key go together")
	case o.NATSTLSCert != "" && natsURL != "":
		return errors.New("--nats-tls-cert is for the embedded NATS server, and --nats-url uses another one")
	}
	return nil
}

// WebOptions are the flags about HTTP. The zero value has no limits and no outside issuer, as
// the demo needs it.
type WebOptions struct {
	RateLimit          string         `name:"rate-limit" default:"6000/m" placeholder:"N/m|off" help:"Most requests of each credential in a minute; after a pause all of them may come at once."`
	TrustedProxies     []netip.Prefix `name:"trusted-proxy" placeholder:"CIDR" help:"Network of proxies whose X-Forwarded-For, or Forwarded, says where a request comes from; may be repeated."`
	AllowedOrigins     []string       `name:"allowed-origin" placeholder:"ORIGIN" help:"Web origin whose pages may read answers and use a session's cookie; may be repeated."`
	EmailChangePolicy  string         `name:"email-change-policy" enum:"direct,verify" default:"direct" help:"Whether the generic contract changes an email address at once (direct) or asks for a code (verify)."`
	ElevatedRole       string         `name:"elevated-role" default:"account-admin" placeholder:"ROLE" help:"Role with which an impersonating administrator may update through the generic contract and use HostUp's actions."`
	SessionEmailChange bool           `name:"session-email-change" help:"Let a session of the account's holder change the email address through the generic contract, without the current password. Whoever steals a session can then take the account."`
	OAuthTTL           time.Duration  `name:"oauth-ttl" default:"1h" placeholder:"DURATION" help:"Life of access tokens, 1h to 2h."`
	JWTIssuer          string         `name:"jwt-issuer" placeholder:"URL" help:"Outside issuer whose JWTs count as clients' tokens; needs --jwt-audience."`
	JWTAudience        string         `name:"jwt-audience" placeholder:"NAME" help:"Audience that the outside issuer's JWTs name for konto."`
	JWKSURL            string         `name:"jwks-url" placeholder:"URL" help:"URL of the outside issuer's keys; from its metadata unless given."`

	UserJWTIssuer       string   `name:"user-jwt-issuer" placeholder:"URL" help:"Identity provider whose JWTs count as tokens of account holders; needs --user-jwt-audience."`
	UserJWTAudience     string   `name:"user-jwt-audience" placeholder:"NAME" help:"Audience that the identity provider's JWTs name for konto."`
	UserJWKSURL         string   `name:"user-jwks-url" placeholder:"URL" help:"URL of the identity provider's keys; from its metadata unless given."`
	UserJWTAccountClaim string   `name:"user-jwt-account-claim" placeholder:"NAME" help:"Claim of the identity provider's JWTs with the account's id; without it the account is the one that konto account link linked to the claim sub."`
	UserJWTScopes       []string `name:"user-jwt-scope" placeholder:"THEIRS=OURS" help:"Scope of the identity provider's JWTs that counts as a scope of konto; may be repeated, and then no other scope counts. Without it the scopes count as they are."`
}

// Validate is called by the parser, so that a wrong value is wrong usage.
func (o *WebOptions) Validate() error {
	_, err := o.configure()
	return err
}

// configure returns what follows from the flags alone.
func (o *WebOptions) configure() (cfg kontohttp.Config, err error) {
	if o.RateLimit != "" {
		if cfg.RateLimit, err = kontohttp.ParseRateLimit(o.RateLimit); err != nil {
			return cfg, err
		}
	}
	for _, text := range o.AllowedOrigins {
		origin, err := kontohttp.ParseOrigin(text)
		if err != nil {
			return cfg, err
		}
		cfg.AllowedOrigins = append(cfg.AllowedOrigins, origin)
	}
	if o.EmailChangePolicy != "" {
		if cfg.EmailChangePolicy, err = kontohttp.ParseEmailChangePolicy(o.EmailChangePolicy); err != nil {
			return cfg, err
		}
	}
	if o.OAuthTTL != 0 && (o.OAuthTTL < time.Hour || o.OAuthTTL > 2*time.Hour) {
		return cfg, fmt.Errorf("--oauth-ttl is from 1h to 2h, not %s", o.OAuthTTL)
	}
	cfg.TrustedProxies = o.TrustedProxies
	cfg.SessionEmailChange = o.SessionEmailChange
	cfg.ElevatedRole, cfg.TokenTTL = o.ElevatedRole, o.OAuthTTL
	cfg.ClientTokens = kontohttp.Issuer{URL: o.JWTIssuer, Audience: o.JWTAudience, KeysURL: o.JWKSURL}
	if err := checkIssuer("", cfg.ClientTokens); err != nil {
		return cfg, err
	}
	cfg.UserTokens, err = o.userIssuer()
	return cfg, err
}

func (o *WebOptions) userIssuer() (i kontohttp.UserIssuer, err error) {
	i.Issuer = kontohttp.Issuer{URL: o.UserJWTIssuer, Audience: o.UserJWTAudience, KeysURL: o.UserJWKSURL}
	i.AccountClaim = o.UserJWTAccountClaim
	for _, text := range o.UserJWTScopes {
		mapping, err := kontohttp.ParseScopeMapping(text)
		if err != nil {
			return i, fmt.Errorf("--user-jwt-scope: %w", err)
		}
		i.Scopes = append(i.Scopes, mapping)
	}
	switch {
	case i.URL == "" && (i.AccountClaim != "" || i.Scopes != nil):
		return i, errors.New("--user-jwt-account-claim and --user-jwt-scope go with --user-jwt-issuer")
	case i.URL != "" && i.URL == o.JWTIssuer:
		return i, errors.New("--user-jwt-issuer and --jwt-issuer must differ: the issuer of a token says whether it is an account holder's or a client's")
	}
	return i, checkIssuer("user-", i.Issuer)
}

// checkIssuer checks the flags about one issuer, whose names begin with prefix.
func checkIssuer(prefix string, i kontohttp.Issuer) error {
	if (i.URL == "") != (i.Audience == "") {
		return fmt.Errorf("--%[1]sjwt-issuer and --%[1]sjwt-audience go together", prefix)
	}
	if i.KeysURL != "" && i.URL == "" {
		return fmt.Errorf("--%[1]sjwks-url goes with --%[1]sjwt-issuer", prefix)
	}
	for flag, text := range map[string]string{"jwt-issuer": i.URL, "jwks-url": i.KeysURL} {
		if text == "" {
			continue
		}
		if u, err := url.Parse(text); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			return fmt.Errorf("--%s%s is not an http or https URL", prefix, flag)
		}
	}
	return nil
}

// LogOptions are the flags about what a server writes to stderr.
type LogOptions struct {
	LogFormat string     `name:"log-format" enum:"text,json" default:"text" placeholder:"text|json" help:"How the log is written: as text, or as one JSON object a line."`
	LogLevel  slog.Level `name:"log-level" default:"${log_level}" placeholder:"LEVEL" help:"What is logged: debug, info, warn or error, and what is worse; ${log_level} unless given."`
	AccessLog bool       `name:"access-log" help:"Log a line for each request, at any --log-level, without personal data."`
}

// inSeconds writes a duration as a number of seconds. slog's own number would be nanoseconds.
func inSeconds(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.Float64Value(a.Value.Duration().Seconds())
	}
	return a
}

// Loggers are the log, that of administrative acts, and that of requests, which is nil unless there is
// one. The last two do not depend on --log-level.
type Loggers struct{ Log, Audit, Access *slog.Logger }

// Loggers returns the loggers that the flags ask for.
func (o *LogOptions) Loggers(to io.Writer) (l Loggers) {
	logger := func(level slog.Level) *slog.Logger {
		options := &slog.HandlerOptions{Level: level}
		if o.LogFormat == "json" {
			options.ReplaceAttr = inSeconds
			return slog.New(slog.NewJSONHandler(to, options))
		}
		return slog.New(slog.NewTextHandler(to, options))
	}
	if o.AccessLog {
		l.Access = logger(slog.LevelInfo)
	}
	l.Log, l.Audit = logger(o.LogLevel), logger(slog.LevelInfo)
	return l
}

// NATSOptions say how konto authenticates to an outside NATS server. Secrets are in files,
// never in arguments.
type NATSOptions struct {
	NATSCreds  string `name:"nats-creds" placeholder:"FILE" help:"Credentials (JWT and seed) for the server at --nats-url."`
	NATSNkey   string `name:"nats-nkey" placeholder:"FILE" help:"Nkey seed for the server at --nats-url."`
	NATSCert   string `name:"nats-cert" placeholder:"FILE" help:"Client certificate (PEM) for the server at --nats-url; needs --nats-key."`
	NATSKey    string `name:"nats-key" placeholder:"FILE" help:"Key (PEM) of the client certificate."`
	NATSCA     string `name:"nats-ca" placeholder:"FILE" help:"CA certificates (PEM) for the server at --nats-url; the system's unless given."`
	NATSDomain string `name:"nats-domain" placeholder:"NAME" help:"JetStream domain, when the server at --nats-url is a leaf node of the one with JetStream."`
}

func (o *NATSOptions) validate(url string) error {
	for _, flag := range []struct{ name, value string }{
		{"--nats-creds", o.NATSCreds}, {"--nats-nkey", o.NATSNkey}, {"--nats-cert", o.NATSCert},
		{"--nats-key", o.NATSKey}, {"--nats-ca", o.NATSCA}, {"--nats-domain", o.NATSDomain},
	} {
		if flag.value != "" && url == "" {
			return fmt.Errorf("%s is for an outside NATS server: give its --nats-url", flag.name)
		}
	}
	if o.NATSCreds != "" && o.NATSNkey != "" {
		return errors.New("--nats-creds and --nats-nkey are two ways to log in: give one")
	}
	if (o.NATSCert == "") != (o.NATSKey == "") {
		return errors.New("--nats-cert and --nats-key go together")
	}
	return nil
}

func (o *NATSOptions) configure(url string, log *slog.Logger) nats.DialConfig {
	return nats.DialConfig{
		URL: url, Creds: o.NATSCreds, Nkey: o.NATSNkey, Cert: o.NATSCert, Key: o.NATSKey, CA: o.NATSCA, Domain: o.NATSDomain, Log: log,
	}
}

// MailOptions are the flags about verification codes, which are the only mail of konto.
type MailOptions struct {
	SMTPURL          string `name:"smtp-url" placeholder:"URL" help:"Server to mail codes through, smtp://user@host:port or smtps://...; without it they are written to mail/ in the data folder. A password is accepted only in the variable."`
	SMTPPasswordFile string `name:"smtp-password-file" placeholder:"FILE" help:"File with the password of the user in --smtp-url."`
	MailFrom         string `name:"mail-from" default:"konto@localhost" placeholder:"ADDRESS" help:"Sender of codes."`
	MailName         string `name:"mail-name" placeholder:"NAME" help:"Name of who runs konto, as the users know it: in the letters, and beside the sender's address."`
	MailTemplates    string `name:"mail-templates" placeholder:"DIR" help:"Folder with letters that replace konto's own, one file for each language, such as sv.txt."`
}

// Validate is called by the parser, so that a wrong value is wrong usage.
func (o *MailOptions) Validate() error {
	if o.SMTPPasswordFile == "" {
		return nil
	}
	u, err := url.Parse(o.SMTPURL)
	if err != nil || u.User.Username() == "" {
		return errors.New("--smtp-password-file goes with an --smtp-url that names a user, such as smtps://konto@mail.example.com")
	}
	if _, has := u.User.Password(); has {
		return errors.New("the password is in --smtp-url and in --smtp-password-file; leave one of them out")
	}
	return nil
}

// Server returns the URL of the SMTP server, with the password from the file.
func (o *MailOptions) Server() (string, error) {
	if o.SMTPPasswordFile == "" {
		return o.SMTPURL, nil
	}
	u, err := url.Parse(o.SMTPURL)
	if err != nil {
		return "", errors.New("--smtp-url is not a URL") // the error of url.Parse quotes it
	}
	text, err := os.ReadFile(o.SMTPPasswordFile)
	if err != nil {
		return "", fmt.Errorf("read the password of --smtp-password-file: %w", err)
	}
	password := strings.TrimRight(string(text), "\r\n")
	if password == "" {
		return "", fmt.Errorf("%s holds no password", o.SMTPPasswordFile)
	}
	u.User = url.UserPassword(u.User.Username(), password)
	return u.String(), nil
}

// SenderOptions are the flags about requests to third parties. The zero value allows only
// addresses of the public internet. A server uses its own flags, so these are not sent to it
// with a command.
type SenderOptions struct {
	ThirdPartyAllow   []netip.Prefix `name:"third-party-allow" placeholder:"CIDR" help:"Network that third parties may be in although it is private or loopback, and may receive http in; may be repeated." json:"-"`
	ThirdPartyTimeout time.Duration  `name:"third-party-timeout" default:"15s" placeholder:"DURATION" help:"How long a third party may take to answer." json:"-"`
	PublicURL         string         `name:"public-url" placeholder:"URL" help:"URL of konto for third parties, and issuer of security event tokens (risc); the address of --http unless given. risc needs it if that is 0.0.0.0 or the like." json:"-"`
}

// Validate is called by the parser, so that a wrong value is wrong usage.
func (o *SenderOptions) Validate() error {
	if o.ThirdPartyTimeout < 0 {
		return errors.New("--third-party-timeout must not be negative")
	}
	if o.PublicURL == "" {
		return nil
	}
	if u, err := url.Parse(o.PublicURL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return errors.New("--public-url is not an http or https URL")
	}
	return nil
}

// DeliveryOptions are the flags about deliveries to third parties and about metrics. The zero
// value has the usual schedule and no metrics.
type DeliveryOptions struct {
	ThirdPartyRetry       []time.Duration `name:"third-party-retry" default:"${retry_schedule}" placeholder:"DELAYS" help:"Delay before each attempt to deliver an event, plus or minus a tenth."`
	ThirdPartyConcurrency int             `name:"third-party-concurrency" default:"16" placeholder:"N" help:"Most requests to each third party at the same time; fewer while it asks for less."`
	Metrics               string          `name:"metrics" default:"off" placeholder:"ADDRESS|off" help:"Where to answer Prometheus at /metrics; off: nowhere."`
}

// Validate is called by Options.Validate.
func (o *DeliveryOptions) Validate() error {
	if err := deliveries.CheckSchedule(o.ThirdPartyRetry); err != nil {
		return fmt.Errorf("--third-party-retry: %w", err)
	}
	if o.ThirdPartyConcurrency < 1 || o.ThirdPartyConcurrency > 1000 {
		return errors.New("--third-party-concurrency is from 1 to 1000")
	}
	return nil
}

// Vars are the variables in the tags of the flags.
func Vars() map[string]string {
	var delays []string
	for _, delay := range deliveries.DefaultSchedule() {
		delays = append(delays, delay.String())
	}
	return map[string]string{"retry_schedule": strings.Join(delays, ",")}
}
