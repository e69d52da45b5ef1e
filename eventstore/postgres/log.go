package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"konto/eventstore"
)

// readerCount is how many reads of a node run at once.
const readerCount = 8

// closeWithin is how long Close waits for appends whose outcome is open.
const closeWithin = 10 * time.Second

// Config says where the log is.
type Config struct {
	// URL is a connection string as libpq takes it; it may name several hosts, of which the
	// primary is found.
	URL string
	// Unreplicated allows a server without a synchronous standby. Then a change is acknowledged
	// that is lost with the server's disk.
	Unreplicated bool
	// Log takes what goes wrong and is tried again. Default: slog.Default().
	Log *slog.Logger
}

// Log implements eventstore.Log on Postgres. Several nodes may have the same log open.
type Log struct {
	cfg      *pgx.ConnConfig
	log      *slog.Logger
	queue    *queue
	covering chan *turn // committed, and not yet covered by a barrier
	barriers *barriers
	feed     *feed
	pool     *pgxpool.Pool
	swept    time.Time // when the writer last deleted expired receipts

	// stopping ends when the log no longer waits for anything.
	stopping context.Context
	stop     context.CancelFunc
	ended    chan struct{} // closed once no append can be decided any more
	running  sync.WaitGroup
	close    func() error // runs once
}

// Open opens the log at cfg.URL. It makes the schema in an empty database and brings an older one
// up to date. It refuses, in one sentence, a server that would lose what it acknowledges, a schema
// that is newer than this konto, and a database that is not a primary's.
func Open(ctx context.Context, cfg Config) (*Log, error) {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	conn, err := configure(cfg.URL)
	if err != nil {
		return nil, err
	}
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
	l := &Log{
		cfg: conn, log: cfg.Log, queue: newQueue(), covering: make(chan *turn, 16),
		barriers: newBarriers(conn, cfg.Unreplicated), feed: newFeed(), pool: pool, ended: make(chan struct{}),
	}
	l.stopping, l.stop = context.WithCancel(context.Background())
	l.close = sync.OnceValue(l.shut)
	l.running.Go(func() { l.barriers.run(l.stopping) })
	begin, err := l.barriers.pass(ctx)
	if err != nil {
		l.stop()
		l.running.Wait()
		pool.Close()
		return nil, l.failed("open", err)
	}
	l.feed.last = begin.position
	l.running.Go(func() {
		defer close(l.ended)
		l.cover()
	})
	l.running.Go(l.write)
	l.running.Go(l.follow)
	return l, nil
}

// ID returns 16 random bytes that distinguish this log from every other.
func (l *Log) ID(ctx context.Context) (id []byte, err error) {
	err = l.read(ctx, func(b *pgx.Batch) {
		b.Queue(`SELECT id FROM log.meta`).QueryRow(func(row pgx.Row) error { return row.Scan(&id) })
	})
	return id, err
}

// Close implements eventstore.Log. It waits 10 s at most: appends that no standby has confirmed
// by then get ErrOutcomeUnknown.
func (l *Log) Close() error { return l.close() }

func (l *Log) shut() error {
	l.queue.close()
	forced := time.AfterFunc(closeWithin, l.stop)
	defer forced.Stop()
	<-l.ended
	l.stop()
	l.running.Wait()
	l.feed.close()
	l.pool.Close()
	for _, p := range l.queue.take(int(^uint(0) >> 1)) {
		p.err = eventstore.ErrOutcomeUnknown
		close(p.decided)
	}
	return nil
}

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
		return fmt.Errorf("Postgres %d is too old, konto needs 15 or newer", version/10000)
	case uint32(pid) != conn.PgConn().PID():
		return errors.New("konto reaches Postgres through a connection pooler; give it the server's own address")
	case fsync != "on":
		return errors.New("Postgres runs with fsync = off and loses data when its machine stops; set fsync = on")
	case fullPages != "on":
		return errors.New("Postgres runs with full_page_writes = off and can tear pages; set full_page_writes = on")
	case encoding != "UTF8":
		return fmt.Errorf("the database has the encoding %s, konto needs UTF8", encoding)
	case off < -1 || off > 1:
		return fmt.Errorf("the clocks of this machine and of Postgres differ by %.1f s, 1 s is allowed", off)
	case unreplicated:
		return nil
	case !allowed:
		return errors.New("konto's role cannot see whether a standby is connected; GRANT pg_read_all_stats to it")
	case names == "":
		return errors.New("Postgres has no synchronous standby, so a failover would lose acknowledged changes; set synchronous_standby_names, or give --store-unreplicated")
	case standbys == 0:
		return errors.New("no synchronous standby is connected to Postgres; start one, or give --store-unreplicated")
	}
	return nil
}
