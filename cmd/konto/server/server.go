package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"time"

	"konto/cmd/konto/control"
	"konto/cmd/konto/datafolder"
	"konto/events"
	kontohttp "konto/http"
	"konto/projections"
	"konto/projections/deliveries"
	"konto/projections/mail"
	"konto/projections/metrics"
	"konto/projections/nats"
	"konto/projections/natscallout"
	"konto/projections/natsserver"
	"konto/projections/webhook"
)

// Server is everything that runs while konto serves. It does not own the folder.
type Server struct {
	Running
	folder    *datafolder.Folder
	config    Options
	log       *slog.Logger
	http      net.Listener
	handler   http.Handler // what is answered there; nil until Run answers
	control   *control.Socket
	publisher *projections.Follower
	published *nats.Publisher // the projection of publisher
	codes     *component
	callout   *natscallout.Service // nil unless the log is in Postgres
	draining  atomic.Bool
	answering chan struct{} // closed when requests are answered; before, only the probes are
	appends   question      // whether the log in the folder takes appends
	broker    question      // how the embedded NATS server is

	webCertificate, natsCertificate *certificate // nil without TLS

	inbound         *component
	metrics         *metrics.Metrics
	metricsListener net.Listener // nil if metrics are off

	api   *kontohttp.API
	admin net.Listener // of api; nil if --http answers it
}

// Administration has the ways to administer a running server. Package admin makes them, which imports
// this one.
type Administration struct {
	Commands func(*Running) control.Finder // those that are requested over the control socket
	API      func(*Running) *kontohttp.API
}

// Running is what a command can use of the server in whose process it runs. If no server runs
// it is nil; the comment of each method says what it then does.
type Running struct {
	Broker     *natsserver.Server // nil when an outside one is used
	Conn       *nats.Conn         // to NATS
	Facts      *nats.Inbound      // where facts of other systems arrive
	Deliveries *deliveries.Deliveries
	Sender     *webhook.Sender
	NoURL      bool // the server does not know its own URL
	Health     func() []projections.Status
	UserIssuer string // whose JWTs are account holders' tokens; "" if there is none
	// Ready asks the server over HTTP whether it takes updates, and returns the text of the answer.
	Ready      func(context.Context) (ready bool, text string, err error)
	Components func() []projections.Component
}

// Followers returns the function that reports the states of the server's followers, nil if no
// server runs.
func (r *Running) Followers() func() []projections.Status {
	if r == nil {
		return nil
	}
	return r.Health
}

// HasNoURL reports whether a server runs and does not know its own URL.
func (r *Running) HasNoURL() bool { return r != nil && r.NoURL }

// IdentityProvider returns the issuer whose JWTs are account holders' tokens, or "" if no server
// runs or it has none.
func (r *Running) IdentityProvider() string {
	if r == nil {
		return ""
	}
	return r.UserIssuer
}

// Reserve reserves in NATS what a new consumer needs. Without a server it does nothing; the
// next start does it.
func (r *Running) Reserve(consumer string) error {
	if r == nil || r.Broker == nil {
		return nil
	}
	return r.Broker.Reserve(consumer)
}

// Disconnect closes the connections to NATS that were made with a key. Without a server there
// are none.
func (r *Running) Disconnect(key events.Credential) {
	if r != nil && r.Broker != nil {
		r.Broker.Disconnect(key.ID.String())
	}
}

// streamTime is many times what NATS needs to make the stream.
const streamTime = 5 * time.Second

// Open binds every address before anything runs, so that an address in use is found at once.
func Open(ctx context.Context, folder *datafolder.Folder, cfg Options, by Administration, log *slog.Logger) (_ *Server, err error) {
	s := &Server{folder: folder, config: cfg, log: log, answering: make(chan struct{})}
	s.Health, s.Components, s.Ready, s.UserIssuer = s.statuses, s.components, s.askReady, cfg.UserJWTIssuer
	s.api = by.API(&s.Running)
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.http, err = net.Listen("tcp", cfg.HTTP); err != nil {
		return nil, fmt.Errorf("cannot answer HTTP on %s: %w", cfg.HTTP, bare(err))
	}
	if s.webCertificate, err = openCertificate(cfg.TLSCert, cfg.TLSKey, log); err != nil {
		return nil, err
	}
	if s.natsCertificate, err = openCertificate(cfg.NATSTLSCert, cfg.NATSTLSKey, log); err != nil {
		return nil, err
	}
	if cfg.AdminHTTP != "" {
		if s.admin, err = net.Listen("tcp", cfg.AdminHTTP); err != nil {
			return nil, fmt.Errorf("cannot answer administrators on %s: %w", cfg.AdminHTTP, bare(err))
		}
		log.Info("administrators are answered at " + s.scheme() + s.admin.Addr().String() + kontohttp.AdminPrefix)
	}
	if s.unreplicated() {
		log.Warn(unreplicated)
	}
	if err := s.checkIssuer(ctx); err != nil {
		return nil, err
	}
	if s.control, err = control.Listen(folder.Path, by.Commands(&s.Running)); err != nil {
		return nil, err
	}
	if err := s.connect(); err != nil {
		return nil, err
	}
	s.Facts = nats.NewInbound(s.Conn, folder.Erasures.NamesErased, log)
	publishing := nats.PublisherConfig{Conn: s.Conn, Store: folder.Store, Cursors: folder.Model, Retention: cfg.Retention, Log: log}
	following := projections.FollowerConfig{Name: "publisher", Store: folder.Store, Log: log}
	if folder.DB != nil { // one node publishes
		cursors := folder.DB.Cursors("publisher", cfg.Node)
		publishing.Cursors, publishing.Held, following.Hold = cursors, cursors.Check, cursors.Hold
		if s.callout, err = s.answerServers(); err != nil {
			return nil, err
		}
	}
	publisher := nats.NewPublisher(publishing)
	if s.Broker != nil {
		// A consumer or sender that connects as soon as konto is ready finds the streams. An
		// error here occurs again where the streams are used, and is reported there.
		bounded, cancel := context.WithTimeout(ctx, streamTime)
		defer cancel()
		publisher.Open(bounded)
		s.Facts.Open(bounded)
	}
	s.metrics = metrics.New(s.metricsConfig())
	if err := s.metrics.Add(folder.Log); err != nil {
		return nil, err
	}
	s.published = publisher
	following.Projection = publisher
	s.publisher = projections.NewFollower(following)
	if s.codes, err = s.mailer(cfg.MailOptions); err != nil {
		return nil, err
	}
	s.inbound = s.recordFacts()
	if err := s.openMetrics(); err != nil {
		return nil, err
	}
	if err := s.deliver(); err != nil {
		return nil, err
	}
	folder.Erasures.Serve(s.Facts, s.publisher, s.Deliveries.Follower())
	folder.Following(append(s.allFollowers(), folder.Erasures.Follower)...)
	return s, nil
}

// openMetrics binds the address of the metrics, if there are to be any.
func (s *Server) openMetrics() (err error) {
	if s.config.Metrics == "" || s.config.Metrics == "off" {
		return nil
	}
	if s.metricsListener, err = net.Listen("tcp", s.config.Metrics); err != nil {
		return fmt.Errorf("cannot answer Prometheus on %s: %w", s.config.Metrics, bare(err))
	}
	s.log.Info("metrics are at http://" + s.metricsListener.Addr().String() + "/metrics")
	return nil
}

// bare removes the operation and the address from a network error.
func bare(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// connect starts the embedded NATS server, unless an outside one is used, and connects.
func (s *Server) connect() (err error) {
	if s.config.NATSURL != "" {
		s.Conn, err = nats.Dial(s.config.NATSOptions.configure(s.config.NATSURL, s.log))
		return err
	}
	s.Broker, err = natsserver.Start(natsserver.Config{
		Dir:          filepath.Join(s.folder.Path, "jetstream"),
		Listen:       s.config.NATSListen,
		TLS:          s.natsCertificate.config(),
		Key:          s.folder.Keys.Derive("jetstream"),
		Authenticate: s.holder(events.KindConsumer),
		Consumers:    s.consumers,

		AuthenticateSender: s.holder(events.KindInbound),

		Log: s.log,
	})
	if err != nil {
		return err
	}
	s.Conn, err = nats.DialInProcess(s.log, s.Broker.ClientOptions()...)
	return err
}

// holder returns a function that authenticates the holder of a key of one kind.
func (s *Server) holder(kind string) func(token string) (natsserver.Holder, bool) {
	return func(token string) (natsserver.Holder, bool) {
		c, err := s.folder.Model.Authenticate(context.Background(), token, time.Now())
		if err != nil && !errors.Is(err, projections.ErrUnauthenticated) {
			s.log.Error("cannot authenticate a NATS client", "error", err)
		}
		return natsserver.Holder{Name: c.Name, Key: c.ID.String(), Expires: c.ExpiresAt}, err == nil && c.Kind == kind
	}
}

func (s *Server) consumers() []string {
	names, err := s.folder.Model.ConsumerNames(context.Background())
	if err != nil {
		s.log.Error("cannot list the NATS consumers", "error", err)
	}
	return names
}

// URL returns the address where HTTP is answered.
func (s *Server) URL() string {
	return s.scheme() + s.http.Addr().String()
}

func (s *Server) scheme() string {
	if s.webCertificate != nil {
		return "https://"
	}
	return "http://"
}

// NATSURL returns the address where consumers connect.
func (s *Server) NATSURL() string {
	switch {
	case s.Broker == nil:
		return "outside" // its URL may hold a password
	case s.Broker.URL() == "":
		return "off"
	}
	return s.Broker.URL()
}

// mailer makes the reactor that mails codes.
func (s *Server) mailer(o MailOptions) (*component, error) {
	server, err := o.Server()
	if err != nil {
		return nil, err
	}
	from := nats.NewSubscriber(nats.SubscriberConfig{Conn: s.Conn, Durable: "konto-mailer", Log: s.log})
	reactor, err := mail.New(mail.Config{
		Subscriber: from,
		Accounts:   s.folder.Reader(),
		Codes:      events.NewEmailCodes(s.folder.Keys.Derive),
		SMTPURL:    server,
		Dir:        filepath.Join(s.folder.Path, datafolder.MailName),
		From:       o.MailFrom,
		Metrics:    s.metrics.Registerer(),
		Name:       o.MailName,
		Templates:  o.MailTemplates,
		Log:        s.log,
	})
	return &component{name: "mailer", from: from, reactor: reactor}, err
}
