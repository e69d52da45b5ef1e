package main

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"konto/cmd/konto/control"
	"konto/cmd/konto/datafolder"
	"konto/cmd/konto/server"
	"konto/events/tracing"
	"konto/eventstore/postgres"
	kontohttp "konto/http"
)

type serveCommand struct{ server.Options }

func (c *serveCommand) Help() string {
	return `The first interrupt stops the server in order, the second one at once.

Examples:

    konto serve
    konto serve --data /var/lib/konto --http 0.0.0.0:8080 --nats-listen off
    konto serve --nats-url nats://nats.example.com:4222 --smtp-url smtps://konto@mail.example.com --smtp-password-file smtp-password
    konto serve --nats-url tls://connect.ngs.global --nats-creds /etc/konto/konto.creds
    konto serve --nats-url tls://nats.example.com --nats-cert konto.pem --nats-key konto-key.pem --nats-ca ca.pem
    konto serve --third-party-allow 10.0.0.0/8 --public-url https://konto.example.com --metrics 127.0.0.1:9090
    konto serve --rate-limit 600/m --allowed-origin https://app.example.com --email-change-policy verify

Several machines, with the same KONTO_MASTER_KEY on each:

    konto serve --store postgres://konto@pg1,pg2/konto --nats-url nats://n1,n2,n3 --node a --smtp-url smtps://konto@mail.example.com`
}

func (c *serveCommand) run(ctx context.Context, l *line, _, stderr io.Writer) error {
	loggers := c.Loggers(stderr)
	log := loggers.Log
	c.Options.Access, c.Options.Audit = loggers.Access, loggers.Audit
	if err := c.Options.CheckPostgres(l.postgres); err != nil {
		return err
	}
	cfg := datafolder.Config{
		Path: l.folder(), Holder: "konto serve", Begin: true, Log: log, Postgres: l.postgres,
		Node: postgres.Node{Name: c.Node, Address: c.HTTP, Version: builtFrom().Version}, SendTimeout: c.ThirdPartyTimeout,
	}
	began := time.Now()
	stop := context.AfterFunc(ctx, func() { notify(daemon.SdNotifyStopping, log) })
	defer stop()
	return serveFolder(ctx, cfg, c.Options, func(ctx context.Context, on *opened, s *server.Server) error {
		log.Info("konto is ready", "http", s.URL(), "nats", s.NATSURL(), "data", on.Path, "took", time.Since(began))
		return tellSystemd(ctx, s, log)
	})
}

// tracesTime bounds how long the last spans are exported.
const tracesTime = 3 * time.Second

// serveFolder opens a data folder and runs a server on it until ctx ends. It calls ready once,
// when requests are being answered.
func serveFolder(ctx context.Context, cfg datafolder.Config, options server.Options, ready func(context.Context, *opened, *server.Server) error) (err error) {
	h, err := enterAlone(ctx, cfg)
	if err != nil {
		return ignoreStop(ctx, err)
	}
	var stops <-chan time.Time // nil before the start
	defer func() {
		err = errors.Join(ignoreStop(ctx, err), h.Close())
		if stops != nil {
			logStopped(cfg.Log, stops, err)
		}
	}()
	options.Version = builtFrom().Version
	stopTraces, err := tracing.Export(ctx, options.Version, func(err error) {
		cfg.Log.Warn("traces could not be exported", "error", err)
	})
	if err != nil {
		return err
	}
	defer func() {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), tracesTime)
		defer cancel()
		stopTraces(bounded) // what cannot be exported was warned of
	}()
	administered := func(r *server.Running) *opened {
		return &opened{Folder: h, Server: r, Version: options.Version, Audit: options.Audit}
	}
	s, err := server.Open(ctx, h, options, server.Administration{
		Commands: func(r *server.Running) control.Finder { return finderOf(administered(r)) },
		API:      func(r *server.Running) *kontohttp.API { return administered(r).API() },
	}, cfg.Log)
	if err != nil {
		return err
	}
	store := "SQLite"
	if h.DB != nil {
		store = "Postgres"
	}
	cfg.Log.Info("konto starts", "version", options.Version, "data", h.Path, "store", store, "http", s.URL(), "nats", s.NATSURL())
	stops = logStop(ctx, cfg.Log)
	return s.Run(ctx, func(ctx context.Context) error { return ready(ctx, administered(&s.Running), s) })
}

// logStop logs why ctx ends when it ends, and then sends when that was.
func logStop(ctx context.Context, log *slog.Logger) <-chan time.Time {
	stops := make(chan time.Time, 1)
	context.AfterFunc(ctx, func() {
		log.Info("konto stops", "reason", context.Cause(ctx))
		stops <- time.Now()
	})
	return stops
}

// logStopped logs that everything is closed: how long that took, or the error that ended konto.
func logStopped(log *slog.Logger, stops <-chan time.Time, err error) {
	if err != nil {
		log.Error("konto has stopped", "error", err)
		return
	}
	log.Info("konto has stopped", "took", time.Since(<-stops))
}

// ignoreStop returns the error of a server, or nil if the server was only stopped before it was
// ready, which is as clean an exit as a later one. database/sql rolls a transaction back when
// its context ends, and whoever uses it next gets ErrTxDone instead of the context's error.
func ignoreStop(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, sql.ErrTxDone)) {
		return nil
	}
	return err
}
