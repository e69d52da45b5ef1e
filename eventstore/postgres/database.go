package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"konto/eventstore"
)

// readerCount is how many reads and writes of a node run at once, beside its turns.
const readerCount = 8

// Config says where a database is.
type Config struct {
	// URL is a connection string as libpq takes it. It may name several hosts, of which the primary
	// is found.
	URL string
	// Unreplicated allows a server without a synchronous standby. Then a change is acknowledged
	// that is lost with the server's disk.
	Unreplicated bool
	// Log gets what fails and is tried again. Default: slog.Default().
	Log *slog.Logger
}

// Database is a primary with a synchronous standby. What it reads and writes is durable before
// its methods return, and survives a failover, with the exception of Volatile.
type Database struct {
	cfg         *pgx.ConnConfig
	connections *connections // all that are made with cfg
	log         *slog.Logger
	pool        *pgxpool.Pool
	barriers    *barriers
	metrics     *metrics
	// incarnation is that of this process among the nodes, a []byte; empty unless it has joined.
	incarnation atomic.Value

	// stopping ends when the database no longer waits for anything.
	stopping context.Context
	stop     context.CancelFunc
	running  sync.WaitGroup
}

// Open connects to a database. It makes konto's schemas if there are none, and brings older ones
// up to date. It refuses, in one sentence, a server that would lose what it acknowledges, a schema
// that is newer than this konto, and a server that is no primary.
func Open(ctx context.Context, cfg Config) (*Database, error) {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	conn, err := configure(cfg.URL)
	if err != nil {
		return nil, err
	}
	connections := &connections{open: map[*connection]struct{}{}}
	conn.DialFunc = connections.dial(conn.DialFunc)
	if err := examine(ctx, conn, cfg.Unreplicated); err != nil {
		return nil, err
	}
	if err := migrate(ctx, conn); err != nil {
		return nil, err
	}
	pooled, err := pgxpool.ParseConfig(cfg.URL)
	if err != nil {
		return nil, err
	}
	pooled.ConnConfig, pooled.MaxConns = conn.Copy(), readerCount
	pool, err := pgxpool.NewWithConfig(ctx, pooled)
	if err != nil {
		return nil, err
	}
	db := &Database{cfg: conn, connections: connections, log: cfg.Log, pool: pool, metrics: newMetrics()}
	db.barriers = newBarriers(conn, cfg.Unreplicated, db.metrics.barriers)
	db.stopping, db.stop = context.WithCancel(context.Background())
	for range barrierCount {
		db.running.Go(func() { db.barriers.run(db.stopping) })
	}
	db.running.Go(db.watch)
	return db, nil
}

// Close ends what waits with ErrClosed.
func (db *Database) Close() {
	db.stop()
	db.running.Wait()
	db.pool.Close()
}

// Read runs the queries of a batch in one round trip and then waits for a barrier: what was read
// is durable, and was not read from a server that has been replaced. queue queues the queries. It
// is called again when the read has to be repeated on another server.
func (db *Database) Read(ctx context.Context, queue func(b *pgx.Batch)) error {
	for {
		if err := db.checkOpen(ctx); err != nil {
			return err
		}
		b := &pgx.Batch{}
		var at timeline
		b.Queue(`SELECT ` + timelineOf).QueryRow(func(row pgx.Row) error { return row.Scan(&at) })
		queue(b)
		if err := db.pool.SendBatch(ctx, b).Close(); err != nil {
			return failed("read", err)
		}
		c, err := db.barriers.pass(ctx)
		if err != nil || c.timeline == at {
			return err
		}
		db.pool.Reset()
	}
}

// Write runs a transaction and then waits for a barrier. Its error matches ErrOutcomeUnknown if the
// transaction may have been stored, and is do's if do fails.
func (db *Database) Write(ctx context.Context, do func(tx pgx.Tx) error) error {
	if err := db.checkOpen(ctx); err != nil {
		return err
	}
	tx, err := db.pool.Begin(ctx)
	if err != nil {
		return failed("write to", err)
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) // does nothing after the commit
	var at timeline
	if err := tx.QueryRow(ctx, `SELECT `+timelineOf+` FROM set_config('synchronous_commit', 'local', true)`).Scan(&at); err != nil {
		return failed("write to", err)
	}
	if err := do(tx); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		if isFinal(err) {
			return failed("write to", err)
		}
		return fmt.Errorf("%w: %w", eventstore.ErrOutcomeUnknown, err)
	}
	if err := db.confirm(ctx, at); err != nil {
		return fmt.Errorf("%w: %w", eventstore.ErrOutcomeUnknown, err)
	}
	return nil
}

// confirm waits for a barrier. It returns an error if the barrier does not cover what was read or
// committed before on a timeline.
func (db *Database) confirm(ctx context.Context, at timeline) error {
	c, err := db.barriers.pass(ctx)
	if err == nil && c.timeline != at {
		err = errReplaced
	}
	return err
}

// Vacuum gives the space of rows that were deleted or replaced to later ones. Until then they can be
// read from the server's files.
func (db *Database) Vacuum(ctx context.Context, tables ...string) error {
	if err := db.checkOpen(ctx); err != nil {
		return err
	}
	if _, err := db.pool.Exec(ctx, "VACUUM "+strings.Join(tables, ", ")); err != nil {
		return failed("vacuum", err)
	}
	return nil
}

// Volatile runs the statements of a batch in one transaction and one round trip, and waits for no
// disk and no standby: what it changes may be lost, and what it reads may be lost after it was
// read. It is for unlogged tables. queue queues the statements. After an error the transaction may
// have been committed.
func (db *Database) Volatile(ctx context.Context, queue func(b *pgx.Batch)) error {
	if err := db.checkOpen(ctx); err != nil {
		return err
	}
	b := &pgx.Batch{}
	b.Queue(`SELECT set_config('synchronous_commit', 'off', true)`)
	queue(b)
	if err := db.pool.SendBatch(ctx, b).Close(); err != nil {
		return failed("ask", err)
	}
	return nil
}

// errReplaced is why what was read or committed may not be so on the server that is primary now.
var errReplaced = errors.New("the server was replaced meanwhile; try again")

// pause waits, or until the database is closed.
func (db *Database) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-db.stopping.Done():
	}
}

// checkOpen returns ctx's error, or ErrClosed once Close was called.
func (db *Database) checkOpen(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if db.stopping.Err() != nil {
		return eventstore.ErrClosed
	}
	return nil
}

func failed(doing string, err error) error { return fmt.Errorf("%s Postgres: %w", doing, err) }

// Unreplicated reports whether changes are acknowledged that no standby has.
func (db *Database) Unreplicated() bool { return db.barriers.unreplicated }

// examine refuses a server that cannot keep what konto promises.
func examine(ctx context.Context, cfg *pgx.ConnConfig, unreplicated bool) error {
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return fmt.Errorf("connect to the log's Postgres: %w", err)
	}
	defer conn.Close(ctx)
	var version, pid, standbys int
	var fsync, fullPages, names, encoding string
	var off float64
	var allowed bool
	err = conn.QueryRow(ctx, `SELECT current_setting('server_version_num')::int, pg_backend_pid(),
		current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_standby_names'),
		(SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')),
		current_setting('server_encoding'), extract(epoch FROM clock_timestamp()),
		pg_has_role('pg_read_all_stats', 'USAGE')`).
		Scan(&version, &pid, &fsync, &fullPages, &names, &standbys, &encoding, &off, &allowed)
	if err != nil {
		return fmt.Errorf("ask the log's Postgres for its settings: %w", err)
	}
	off -= float64(time.Now().UnixMilli()) / 1000
	switch {
	case version < 15_00_00:
		return fmt.Errorf("the log's Postgres %d is too old, konto needs 15 or newer", version/10000)
	case uint32(pid) != conn.PgConn().PID():
		return errors.New("konto reaches Postgres through a connection pooler; give it the server's own address")
	case fsync != "on":
		return errors.New("the log's Postgres runs with fsync = off and loses data when its machine stops; set fsync = on")
	case fullPages != "on":
		return errors.New("the log's Postgres runs with full_page_writes = off and can tear pages; set full_page_writes = on")
	case encoding != "UTF8":
		return fmt.Errorf("the database has the encoding %s, konto needs UTF8", encoding)
	case off < -1 || off > 1:
		return fmt.Errorf("the clocks of this machine and of Postgres differ by %.1f s, 1 s is allowed", off)
	case unreplicated:
		return nil
	case !allowed:
		return errors.New("konto's role cannot see whether a standby is connected; GRANT pg_read_all_stats to it")
	case names == "":
		return errors.New("the log's Postgres has no synchronous standby, so a failover would lose acknowledged changes; set synchronous_standby_names, or give --store-unreplicated")
	case standbys == 0:
		return errors.New("no synchronous standby is connected to Postgres; start one, or give --store-unreplicated")
	}
	return nil
}
