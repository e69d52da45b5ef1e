package main

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"log/slog"

	"konto/cmd/konto/control"
	"konto/cmd/konto/datafolder"
	"konto/cmd/konto/server"
)

type serveCommand struct{ server.Options }

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
	h, err := enterAlone(ctx, datafolder.Config{Path: l.folder(), Holder: "konto serve", Begin: true, Log: log})
	if err != nil {
		return unlessStopped(ctx, err)
	}
	s, err := server.Open(ctx, h, c.Options, func(r *server.Running) control.Finder { return finderOf(&opened{h, r}) }, log)
	if err != nil {
		return errors.Join(unlessStopped(ctx, err), h.Close())
	}
	err = s.Run(ctx, func(context.Context) error {
		log.Info("konto is ready", "http", s.URL(), "nats", s.NATSURL(), "data", h.Path)
		return nil
	})
	return errors.Join(unlessStopped(ctx, err), h.Close())
}

// unlessStopped returns the error of a server, or nil if the server was only stopped before it
// was ready: that is as good an end as a later one. database/sql rolls a transaction back when
// its context ends, and who uses it next gets ErrTxDone instead of the context's error.
func unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, sql.ErrTxDone)) {
		return nil
	}
	return err
}
