package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"konto/eventstore"
)

// configure returns the configuration of all connections: to a primary, with settings that
// neither the server's configuration nor the URL can weaken.
func configure(url string) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, err // names no password
	}
	for name, value := range map[string]string{
		"application_name":   "konto",
		"client_encoding":    "UTF8",
		"search_path":        "log",
		"synchronous_commit": "on",
		// A statement that was cancelled while it waited for the standby counts as committed
		// although no standby has it. So nothing is cancelled.
		"statement_timeout": "0",
		"lock_timeout":      "0",
		// A node that stops while it holds the row would make all others wait for as long.
		"idle_in_transaction_session_timeout": "1000",
	} {
		cfg.RuntimeParams[name] = value
	}
	cfg.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 3 * time.Second
	}
	return cfg, nil
}

// connect opens a connection that never sends a request to cancel. When a connection breaks, pgx
// dials again to cancel what ran on it. If that is a COMMIT that waits for the standby, Postgres
// makes it visible without the standby.
func connect(ctx context.Context, base *pgx.ConnConfig) (*pgx.Conn, error) {
	cfg := base.Copy()
	var connected atomic.Bool
	dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 3 * time.Second, Interval: 2 * time.Second, Count: 3}}
	dialer.ControlContext = limitUnacknowledged
	cfg.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if connected.Load() {
			return nil, errors.New("a statement is not cancelled")
		}
		return dialer.DialContext(ctx, network, addr)
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	connected.Store(true)
	return conn, nil
}

// isFinal reports whether an error says that a transaction did not happen, and will not if it is
// repeated: the server refused a statement for a reason of the statement's own, or because its
// disk is full. After any other error a COMMIT may have happened or may still happen.
func isFinal(err error) bool {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.Severity != "ERROR" {
		return false
	}
	switch refused.Code[:2] {
	case "08", "25", "40", "55", "57", "58", "XX": // connection, state, rollback, lock, shutdown, I/O, internal
		return false
	}
	return true
}

func (l *Log) failed(doing string, err error) error {
	return fmt.Errorf("%s the log in Postgres: %w", doing, err)
}

// checkOpen returns ErrClosed once Close was called.
func (l *Log) checkOpen(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if l.stopping.Err() != nil {
		return eventstore.ErrClosed
	}
	return nil
}
