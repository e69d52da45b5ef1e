package postgres

import (
	"errors"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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
		"statement_timeout":  "0", // a turn waits for the row, a barrier for the standby
		"lock_timeout":       "0",
		// A node that stops while it holds the row would make all others wait for as long.
		"idle_in_transaction_session_timeout": "1000",
	} {
		cfg.RuntimeParams[name] = value
	}
	dialer := net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 3 * time.Second, Interval: 2 * time.Second, Count: 3},
		ControlContext:  limitUnacknowledged,
	}
	cfg.DialFunc = dialer.DialContext
	cfg.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 3 * time.Second
	}
	return cfg, nil
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
