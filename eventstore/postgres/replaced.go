package postgres

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// watchEvery is how often konto looks whether another server is primary.
const watchEvery = 5 * time.Second

// watch closes connections to a primary that was replaced and does not answer. Its machine may still
// acknowledge bytes, for example when its disk hangs. What waits there would wait for ever.
func (db *Database) watch() {
	var last timeline
	var since time.Time // connections from before were made while last was the primary's timeline
	for db.stopping.Err() == nil {
		if since.IsZero() {
			since = time.Now()
		}
		if at, err := db.ask(); err == nil {
			if last != "" && at != last {
				db.connections.close(since)
			}
			last, since = at, time.Time{}
		}
		db.pause(watchEvery)
	}
}

// ask returns the timeline of the server to which a new connection leads.
func (db *Database) ask() (at timeline, err error) {
	conn, err := pgx.ConnectConfig(db.stopping, db.cfg) // each address has its own time
	if err != nil {
		return at, err
	}
	defer disconnect(conn)
	ctx, cancel := context.WithTimeout(db.stopping, watchEvery)
	defer cancel()
	err = conn.QueryRow(ctx, `SELECT `+timelineOf).Scan(&at)
	return at, err
}

// connections are those of a database that are open.
type connections struct {
	mu   sync.Mutex
	open map[*connection]struct{}
}

type connection struct {
	net.Conn
	all  *connections
	made time.Time
}

// dial returns a function that dials as another one does, and remembers the connections.
func (c *connections) dial(dial func(ctx context.Context, network, address string) (net.Conn, error)) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		made := time.Now()
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		kept := &connection{conn, c, made}
		c.open[kept] = struct{}{}
		return kept, nil
	}
}

// close closes the connections that were made before a time.
func (c *connections) close(before time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.open {
		if conn.made.Before(before) {
			conn.Conn.Close()
		}
	}
}

// Close implements net.Conn.
func (c *connection) Close() error {
	c.all.mu.Lock()
	defer c.all.mu.Unlock()
	delete(c.all.open, c)
	return c.Conn.Close()
}
