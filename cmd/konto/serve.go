package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"time"

	"konto/events"
	"konto/projections"
	"konto/projections/deliveries"
	"konto/projections/metrics"
	"konto/projections/nats"
	"konto/projections/natsserver"
)

type serveCommand struct {
	HTTP       string `name:"http" default:"127.0.0.1:8080" placeholder:"ADDRESS" help:"Where to answer HTTP; port 0 takes a free one."`
	NATSListen string `name:"nats-listen" default:"127.0.0.1:4222" placeholder:"ADDRESS|off" help:"Where the embedded NATS server listens for consumers; off: nowhere."`
	NATSURL    string `name:"nats-url" placeholder:"URL" help:"Publish to this NATS server, and run none. The variable may hold user:password@ or a token; here they are refused."`

	outsideOptions
	webOptions
	mailOptions
	senderOptions
	deliverOptions
}

// Validate is called by the parser, so that a wrong value is wrong usage.
func (c *serveCommand) Validate() error {
	return cmp.Or(c.outsideOptions.validate(c.NATSURL), c.webOptions.Validate(), c.mailOptions.Validate(), c.senderOptions.Validate(), c.deliverOptions.Validate())
}

func (c *serveCommand) Help() string {
	return `The first interrupt ends the server in order, the second at once.

Examples:

    konto serve
    konto serve --data /var/lib/konto --http 0.0.0.0:8080 --nats-listen off
    konto serve --nats-url nats://nats.example.com:4222 --smtp-url smtps://konto@mail.example.com --smtp-password-file smtp-password
    konto serve --nats-url tls://connect.ngs.global --nats-creds /etc/konto/konto.creds
    konto serve --nats-url tls://nats.example.com --nats-cert konto.pem --nats-key konto-key.pem --nats-ca ca.pem
    konto serve --third-party-allow 10.0.0.0/8 --public-url https://konto.example.com --metrics 127.0.0.1:9090
    konto serve --rate-limit 600/m --allowed-origin https://app.example.com --email-change-policy verify`
}

func (c *serveCommand) run(ctx context.Context, l *line, _, stderr io.Writer) error {
	log := slog.New(slog.NewTextHandler(stderr, nil))
	h, err := enterAlone(ctx, houseConfig{folder: l.folder(), holder: "konto serve", begin: true, log: log})
	if err != nil {
		return unlessStopped(ctx, err)
	}
	s, err := openServer(ctx, h, *c, log)
	if err != nil {
		return errors.Join(unlessStopped(ctx, err), h.Close())
	}
	err = s.Run(ctx, func(context.Context) error {
		log.Info("konto is ready", "http", s.url(), "nats", s.natsURL(), "data", h.folder)
		return nil
	})
	return errors.Join(unlessStopped(ctx, err), h.Close())
}

// unlessStopped is the error of a server, but none if the server only tells that it
// was stopped before it was ready, which is as good an end as one afterwards.
func unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// server is everything that runs while konto serves. It does not own its house.
type server struct {
	house     *house
	config    serveCommand
	log       *slog.Logger
	http      net.Listener
	control   *control
	broker    *natsserver.Server // nil when an outside one is used
	conn      *nats.Conn
	publisher *projections.Follower
	published *nats.Publisher // what publisher feeds
	codes     *component

	inbound     *component
	deliveries  *deliveries.Deliveries
	metrics     *metrics.Metrics
	metricsDoor net.Listener // nil when they are off
}

// streamTime is many times what it takes to make the stream.
const streamTime = 5 * time.Second

// openServer binds every address, so that one that is taken is found out
// before anything runs.
func openServer(ctx context.Context, h *house, cfg serveCommand, log *slog.Logger) (_ *server, err error) {
	s := &server{house: h, config: cfg, log: log}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.http, err = net.Listen("tcp", cfg.HTTP); err != nil {
		return nil, fmt.Errorf("cannot answer HTTP on %s: %w", cfg.HTTP, bare(err))
	}
	if err := s.checkIssuer(ctx); err != nil {
		return nil, err
	}
	if s.control, err = openControl(h); err != nil {
		return nil, err
	}
	if err := s.connect(); err != nil {
		return nil, err
	}
	h.inbound, h.conn = nats.NewInbound(s.conn, h.isForgotten, log), s.conn
	publisher := nats.NewPublisher(nats.PublisherConfig{Conn: s.conn, Store: h.store, Cursors: h.model, Log: log})
	if s.broker != nil {
		// A consumer or sender that comes as soon as konto is ready finds the
		// streams. What fails here fails again in who uses them, and is reported there.
		bounded, cancel := context.WithTimeout(ctx, streamTime)
		defer cancel()
		publisher.Open(bounded)
		h.inbound.Open(bounded)
	}
	s.published = publisher
	s.publisher = projections.NewFollower(projections.FollowerConfig{
		Name: "publisher", Store: h.store, Projection: publisher, Log: log,
	})
	if s.codes, err = s.mailer(cfg.mailOptions); err != nil {
		return nil, err
	}
	s.metrics = metrics.New(metrics.Config{Head: h.store.Head, Health: s.health})
	s.inbound = s.takeIn()
	if err := s.openMetrics(); err != nil {
		return nil, err
	}
	h.followers = s.health
	return s, s.deliver()
}

// bare takes the operation and the address out of a network error.
func bare(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// connect starts the embedded NATS server, unless an outside one is to be
// used, and connects to it.
func (s *server) connect() (err error) {
	if s.config.NATSURL != "" {
		s.conn, err = nats.Dial(s.config.outsideOptions.configure(s.config.NATSURL, s.log))
		return err
	}
	s.broker, err = natsserver.Start(natsserver.Config{
		Dir:          filepath.Join(s.house.folder, "jetstream"),
		Listen:       s.config.NATSListen,
		Key:          s.house.keys.Derive("jetstream"),
		Authenticate: s.holder(events.KindConsumer),
		Consumers:    s.consumers,

		AuthenticateSender: s.holder(events.KindInbound),

		Log: s.log,
	})
	if err != nil {
		return err
	}
	s.house.broker = s.broker
	s.conn, err = nats.DialInProcess(s.log, s.broker.ClientOptions()...)
	return err
}

// holder names those who hold a key of a kind.
func (s *server) holder(kind string) func(token string) (natsserver.Holder, bool) {
	return func(token string) (natsserver.Holder, bool) {
		c, err := s.house.model.Authenticate(context.Background(), token, time.Now())
		if err != nil && !errors.Is(err, projections.ErrUnauthenticated) {
			s.log.Error("cannot authenticate a NATS client", "error", err)
		}
		return natsserver.Holder{Name: c.Name, Key: c.ID.String()}, err == nil && c.Kind == kind
	}
}

func (s *server) consumers() []string {
	names, err := s.house.model.ConsumerNames(context.Background())
	if err != nil {
		s.log.Error("cannot list the NATS consumers", "error", err)
	}
	return names
}

func (s *server) url() string { return "http://" + s.http.Addr().String() }

// natsURL is where consumers connect.
func (s *server) natsURL() string {
	switch {
	case s.broker == nil:
		return "outside" // its URL may hold a password
	case s.broker.URL() == "":
		return "off"
	}
	return s.broker.URL()
}
