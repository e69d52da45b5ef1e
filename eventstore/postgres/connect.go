package postgres

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// configure returns the configuration of all connections: to a primary, with settings that
// neither the server's configuration nor the URL can weaken.
func configure(connection string) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(connection)
	if err != nil {
		return nil, unparsed(connection, err)
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

// unparsed is the error for a connection string that cannot be used. It quotes nothing of a URL that
// is malformed: what looks like a port there may be a part of a password.
func unparsed(connection string, err error) error {
	cause := errors.Unwrap(err)
	if _, malformed := url.Parse(connection); malformed != nil || cause == nil {
		return errors.New("the URL of Postgres cannot be read; it is one such as postgres://konto@pg1,pg2/konto, and in a password / is %2F, @ is %40, and % is %25")
	}
	return fmt.Errorf("the URL of Postgres cannot be used: %w", cause)
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
