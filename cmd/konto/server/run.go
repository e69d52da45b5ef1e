package server

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"konto/cmd/konto/control"
	kontohttp "konto/http"
	"konto/projections"
	"konto/projections/nats"
	"konto/projections/webhook"
)

// Run serves until ctx ends or the log fails. After ctx has ended it goes on for --drain, if
// requests are being answered. Then it stops in order: the listeners, the followers when they have
// caught up, NATS. It calls ready once, when requests are being answered; an error of ready ends the
// server too.
func (s *Server) Run(ctx context.Context, ready func(context.Context) error) error {
	defer s.close()
	web, err := s.web()
	if err != nil {
		return err
	}
	failed := make(chan error, len(s.allFollowers())) // with a place for each follower, so that none waits for a reader
	stopFollowers := s.follow(context.WithoutCancel(ctx), failed)

	ctx, end := s.drained(ctx)
	defer end()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.control.Run(ctx) })
	group.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		}
	})
	group.Go(func() error {
		if err := s.inbound.run(ctx); err != nil {
			s.log.Error("facts of other systems wait until konto is started again", "error", err)
		}
		return nil
	})
	group.Go(func() error {
		s.folder.Erasures.Run(ctx)
		return nil
	})
	if s.folder.DB != nil {
		group.Go(func() error { return s.folder.Limits.Run(ctx) })
		group.Go(func() error { return s.callout.Run(ctx) })
		group.Go(func() error { return s.untilGone(ctx) })
	}
	if s.metricsListener != nil {
		group.Go(func() error {
			return control.ServeUntil(ctx, kontohttp.NewServer(s.metrics.Handler()), s.metricsListener)
		})
	}
	web.Stopping = ctx.Done()
	if s.admin == nil {
		web.Admin = s.api
	} else {
		apart := web
		apart.Admin = s.api
		group.Go(func() error { return s.serveHTTP(ctx, kontohttp.NewAdmin(apart), s.admin) })
	}
	s.handler = kontohttp.New(web)
	group.Go(func() error { return s.serveHTTP(ctx, s.handler, s.http) })
	group.Go(func() error {
		s.catchUp(ctx)
		// Once more, because a read model that was made again did not know of any erasure when
		// the folder was opened.
		if err := s.folder.Erasures.Reconcile(ctx); err != nil {
			return err
		}
		close(s.answering)
		return ready(ctx)
	})
	err = group.Wait()
	s.drain()
	stopFollowers()
	return err
}

// usualDrain is longer than a proxy takes to notice that /readyz is a 503, if it asks every second.
const usualDrain = 5 * time.Second

// drained returns a context that ends --drain after ctx, or with ctx if requests are not answered.
// Meanwhile the server does all that it does, but says that it is draining.
func (s *Server) drained(ctx context.Context) (_ context.Context, end context.CancelFunc) {
	var drain time.Duration
	switch {
	case s.config.Drain != nil:
		drain = *s.config.Drain
	case s.folder.DB != nil:
		drain = usualDrain
	}
	later, end := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() {
		select {
		case <-s.answering:
			s.draining.Store(true)
			time.AfterFunc(drain, end)
		default:
			end()
		}
	})
	return later, end
}

// follow runs the followers until the returned function is called, which returns once they
// have ended. failed receives the error of a log that cannot be read. A follower that stops at
// one event of a good log leaves the server running and itself unhealthy.
func (s *Server) follow(ctx context.Context, failed chan<- error) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var followers errgroup.Group
	for _, f := range s.allFollowers() {
		followers.Go(func() error {
			if f.Run(ctx) == nil {
				return nil
			}
			// If the stored records can be read, the log is good and only the event cannot be
			// decrypted or decoded.
			if _, err := s.folder.Log.ReadAll(ctx, f.Status().Position, 1); err != nil {
				failed <- fmt.Errorf("the log failed: %w", err)
			}
			return nil
		})
	}
	followers.Go(func() error { return s.folder.Erasures.Follower.Run(ctx) })
	followers.Go(func() error {
		if err := s.codes.run(ctx); err != nil {
			s.log.Error("codes are not mailed until konto is started again", "error", err)
		}
		return nil
	})
	followers.Go(func() error {
		if err := s.Deliveries.Run(ctx); err != nil {
			s.log.Error("nothing is delivered to third parties until konto is started again", "error", err)
		}
		return nil
	})
	return func() {
		cancel()
		followers.Wait()
	}
}

func (s *Server) allFollowers() []*projections.Follower {
	return []*projections.Follower{s.folder.Follower, s.publisher, s.Deliveries.Follower()}
}

func (s *Server) statuses() []projections.Status {
	var all []projections.Status
	for _, f := range s.allFollowers() {
		all = append(all, f.Status())
	}
	return all
}

// component is a reactor that receives its messages from a stream.
type component struct {
	name    string
	from    *nats.Subscriber
	reactor interface {
		Run(ctx context.Context) error
		Trouble() string // why it could not handle the last message
	}
	ended projections.Trouble
}

func (c *component) run(ctx context.Context) error {
	err := c.reactor.Run(ctx)
	c.ended.Set(err)
	return err
}

func (c *component) health() projections.Component {
	for _, is := range []projections.Component{
		{State: projections.StateStopped, Error: c.ended.Text()},
		{State: projections.StateWaiting, Error: c.from.Trouble()},
		{State: projections.StateRetrying, Error: c.reactor.Trouble()},
	} {
		if is.Error != "" {
			is.Name = c.name
			return is
		}
	}
	return projections.Component{Name: c.name, State: projections.StateRunning}
}

// components returns the health of the parts that are not followers of the log: the connection
// to NATS with the publisher, facts of other systems, codes.
func (s *Server) components() []projections.Component {
	broker := projections.Component{
		Name: "nats", State: projections.StateRunning,
		Error: cmp.Or(s.Conn.Trouble(), s.published.Trouble()), Warnings: s.Conn.Warnings(),
	}
	if broker.Error != "" {
		broker.State = projections.StateWaiting
	}
	switch err := s.askBroker(); {
	case errors.Is(err, errNoAnswer): // a write to its disk hangs
		broker.State, broker.Error = projections.StateWaiting, cmp.Or(broker.Error, "NATS does not say how it is")
	case err != nil:
		broker.State, broker.Error = projections.StateStopped, err.Error() // only a restart helps
	}
	return []projections.Component{broker, s.inbound.health(), s.codes.health()}
}

// askBroker returns what is wrong with the embedded NATS server, nil if there is none.
func (s *Server) askBroker() error {
	if s.Broker == nil {
		return nil
	}
	return s.broker.ask(context.Background(), brokerPatience, func() error {
		if why := s.Broker.Trouble(); why != "" {
			return errors.New(why)
		}
		return nil
	})
}

// catchUp waits until the read model has applied all events that the log held at the start, for
// example after its file was deleted. Before that, valid keys would be refused. catchUp does not
// wait for a follower that retries, so that /healthz answers.
func (s *Server) catchUp(ctx context.Context) {
	if err := s.folder.CatchUp(ctx); err != nil && ctx.Err() == nil {
		s.log.Warn("requests are answered before the read model has all events of the log", "error", err)
	}
}

// web configures what is answered over HTTP.
func (s *Server) web() (kontohttp.Config, error) {
	cfg, err := s.config.WebOptions.configure()
	if err != nil {
		return cfg, err
	}
	cfg.Accounts, cfg.Reader, cfg.Access = s.folder.Accounts, s.folder.Reader(), s.folder.Model
	if s.folder.DB != nil {
		cfg.Fresh, cfg.Reader.Waited, cfg.Buckets = s.fresh, true, s.folder.Limits
	}
	cfg.TokenKey = s.folder.Keys.Derive(kontohttp.TokenPurpose)
	cfg.KeySet = webhook.KeySet(webhook.TokenKey(s.folder.Keys.Derive))
	cfg.Health, cfg.Components, cfg.Draining, cfg.Readiness = s.statuses, s.components, s.draining.Load, s.readiness
	cfg.Log, cfg.AccessLog, cfg.Metrics = s.log, s.config.Access, s.metrics.Registerer()
	return cfg, nil
}

// serveHTTP answers with a handler until ctx ends.
func (s *Server) serveHTTP(ctx context.Context, answers http.Handler, on net.Listener) error {
	web := kontohttp.NewServer(s.held(ctx, answers))
	web.TLSConfig = s.webCertificate.config()
	web.ErrorLog = log.New(httpErrors{s.log}, "", 0)
	return control.ServeUntil(ctx, web, on)
}

// httpErrors logs what the HTTP server writes. Anybody can make a TLS handshake fail, so that is
// logged at debug, as is all else that a client causes. If konto cannot accept connections, for
// example because it has no file descriptors left, that is a warning.
type httpErrors struct{ log *slog.Logger }

func (e httpErrors) Write(line []byte) (int, error) {
	level := slog.LevelDebug
	if bytes.HasPrefix(line, []byte("http: Accept error")) {
		level = slog.LevelWarn
	}
	e.log.Log(context.Background(), level, strings.TrimSpace(string(line)))
	return len(line), nil
}

// held returns a handler that answers the probes at once, and holds other requests back until konto
// has caught up. Those that are held back when ctx ends get no answer.
func (s *Server) held(ctx context.Context, answers http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != kontohttp.LivePath && r.URL.Path != kontohttp.ReadyPath {
			select {
			case <-s.answering:
			case <-ctx.Done():
				panic(http.ErrAbortHandler)
			}
		}
		answers.ServeHTTP(w, r)
	})
}

// Answer answers one request for konto's health, in this process. It returns soon unless a part
// of konto hangs. Call it when Run has called ready.
func (s *Server) Answer(ctx context.Context) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "/healthz", nil)
	if err == nil {
		s.handler.ServeHTTP(nowhere{}, r)
	}
}

// nowhere discards an answer.
type nowhere struct{}

func (nowhere) Header() http.Header         { return http.Header{} }
func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (nowhere) WriteHeader(int)             {}

// drain waits, bounded, until the followers have everything that was acknowledged. The
// listeners are closed, so the log does not grow. drain does not wait for a follower that retries.
func (s *Server) drain() {
	ctx, cancel := context.WithTimeout(context.Background(), control.DrainTime)
	defer cancel()
	head, err := s.folder.Store.Head(ctx)
	if err != nil {
		s.log.Warn("cannot read the log's last position", "error", err)
		return
	}
	for _, f := range s.allFollowers() {
		if err := f.WaitUnlessRetrying(ctx, head); err != nil && !errors.Is(err, projections.ErrStandby) {
			s.log.Warn("follower is behind and continues after the next start",
				"follower", f.Status().Name, "position", f.Status().Position, "head", head, "error", err)
		}
	}
}

// close closes what Open opened. What was never opened is nil.
func (s *Server) close() {
	if s.Conn != nil {
		s.Conn.Close()
	}
	if s.Broker != nil {
		s.Broker.Close()
	}
	if s.control != nil {
		s.control.Close()
	}
	if s.metricsListener != nil {
		s.metricsListener.Close()
	}
	if s.admin != nil {
		s.admin.Close()
	}
	if s.http != nil {
		s.http.Close()
	}
}
