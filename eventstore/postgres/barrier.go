package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus"

	"konto/eventstore"
)

// timeline is the timeline that a primary writes to. It changes when a standby is promoted.
// What was read or committed on one timeline says nothing about another.
type timeline string

// timelineOf is the expression for the timeline that the server writes to now. It is an error on
// a standby.
const timelineOf = `substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)`

// A barrier is one transaction that writes nothing but a message into the write-ahead log. Since
// a standby gets the log in order, a standby that has the message has everything that was
// committed before. The last statement proves that one has: a COMMIT returns without a standby if
// the server was told to wait for none, or to cancel the wait. It also returns when a former primary
// connects that was not rewound, which reports how far its own log goes. Nothing was sent to such a
// standby from beyond the place where the logs part. The last statement asks the function that the
// view pg_stat_replication is made of, because the view reads every connection of the server.
const (
	emitMessage = `SELECT set_config('konto.barrier', pg_logical_emit_message(true, 'konto', '')::text, false), ` + timelineOf + `,
		position, encode(hash, 'hex') FROM log.head`
	isReplicated = `SELECT EXISTS (SELECT 1 FROM pg_stat_get_wal_senders()
		WHERE sync_state IN ('sync', 'quorum') AND flush_lsn >= current_setting('konto.barrier')::pg_lsn
		AND sent_lsn >= current_setting('konto.barrier')::pg_lsn)`
)

// retryEvery is the pause after a connection failed.
const retryEvery = 50 * time.Millisecond

// ErrNotReplicated occurs while the primary answers and no synchronous standby confirms what is
// committed. What was to be stored may be stored. Repeat it when there is a standby again.
var ErrNotReplicated = errors.New("no synchronous standby has confirmed the last commit; see synchronous_standby_names")

// covered is what a barrier proves: everything that was visible on this timeline when the barrier
// began is durable.
type covered struct {
	timeline timeline
	position uint64 // the log's last position when the barrier began
	hash     string // of the record there, in hex
}

// round is one barrier, shared by all who joined before it began.
type round struct {
	wanted  bool          // somebody has joined
	done    chan struct{} // closed once the rest is set
	covered covered
	err     error // ErrClosed, or nil
}

// barrierCount is how many barriers of a node are under way at once. With one, who comes while it
// waits for the standby would wait for two.
const barrierCount = 3

// barriers runs barriers while somebody waits for one.
type barriers struct {
	cfg          *pgx.ConnConfig
	unreplicated bool
	took         prometheus.Observer // seconds of each barrier

	mu      sync.Mutex
	next    *round  // the one that has not begun
	failing error   // why the present barrier does not complete
	highest covered // the one with the highest position
	closed  bool
	joined  chan struct{} // has an element if next is wanted
}

func newBarriers(cfg *pgx.ConnConfig, unreplicated bool, took prometheus.Observer) *barriers {
	return &barriers{cfg: cfg, unreplicated: unreplicated, took: took, next: newRound(), joined: make(chan struct{}, 1)}
}

func newRound() *round { return &round{done: make(chan struct{})} }

// join returns a barrier that has not begun, or after close one that never will.
func (b *barriers) join() *round {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.next.wanted && !b.closed {
		b.next.wanted = true
		b.joined <- struct{}{} // it is empty: take empties it before it replaces next
	}
	return b.next
}

// pass waits for a barrier that begins after the call.
func (b *barriers) pass(ctx context.Context) (covered, error) {
	r := b.join()
	select {
	case <-r.done:
		return r.covered, r.err
	case <-ctx.Done():
		failing := b.trouble()
		if failing == nil && !b.unreplicated && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			failing = ErrNotReplicated // the primary has answered its caller before, and waits for a standby now
		}
		if failing != nil {
			return covered{}, fmt.Errorf("%w: %w", ctx.Err(), failing)
		}
		return covered{}, ctx.Err()
	}
}

// trouble returns why the present barrier does not complete, nil if nothing is wrong.
func (b *barriers) trouble() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failing
}

// run runs one barrier after another until ctx ends, beside others that do the same. A barrier
// that fails is repeated for as long as it takes: a later barrier covers what an earlier one should
// have covered. Nobody is told that it failed, because nobody may conclude anything from that.
func (b *barriers) run(ctx context.Context) {
	var conn *pgx.Conn
	defer func() { disconnect(conn) }()
	defer b.close()
	for {
		var r *round
		select {
		case <-b.joined:
			if r = b.take(); r == nil {
				return
			}
		case <-ctx.Done():
			return
		}
		for begun := time.Now(); ; {
			var err error
			isNew := conn == nil
			if isNew {
				conn, err = pgx.ConnectConfig(ctx, b.cfg)
			}
			if err == nil {
				if isNew {
					b.report(nil) // a server that could not be reached before answers now
				}
				r.covered, err = b.attempt(ctx, conn)
			}
			b.report(err)
			if err == nil {
				b.took.Observe(time.Since(begun).Seconds())
				close(r.done)
				break
			}
			disconnect(conn)
			conn = nil
			select {
			case <-time.After(retryEvery):
			case <-ctx.Done():
				r.err = eventstore.ErrClosed
				close(r.done)
				return
			}
		}
	}
}

// take begins the next barrier: who joins from now on gets another one. After close it returns nil.
func (b *barriers) take() *round {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	r := b.next
	b.next = newRound()
	return r
}

// close ends the barrier that has not begun, and all that will be joined, with ErrClosed.
func (b *barriers) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.closed, b.next.err = true, eventstore.ErrClosed
		close(b.next.done)
	}
}

// report sets why the present barrier does not complete.
func (b *barriers) report(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failing = err
}

// attempt runs one barrier. It waits for the standby until the connection breaks, or until ctx
// ends, which is when the log is closed.
func (b *barriers) attempt(ctx context.Context, conn *pgx.Conn) (c covered, err error) {
	known := b.latest()
	var replicated bool
	batch := &pgx.Batch{}
	batch.Queue("BEGIN")
	batch.Queue(emitMessage).QueryRow(func(row pgx.Row) error { return row.Scan(nil, &c.timeline, &c.position, &c.hash) })
	batch.Queue("COMMIT").Exec(isCommitted("a barrier"))
	batch.Queue(isReplicated).QueryRow(func(row pgx.Row) error { return row.Scan(&replicated) })
	if err := conn.SendBatch(ctx, batch).Close(); err != nil {
		return c, err
	}
	if known.position > 0 && c.timeline != known.timeline {
		if err := checkPromoted(ctx, conn, known); err != nil {
			return c, err
		}
	}
	if !b.unreplicated && !replicated {
		return c, ErrNotReplicated
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.position >= b.highest.position {
		b.highest = c
	}
	return c, nil
}

// isCommitted returns a check of what COMMIT answers: a transaction that failed answers ROLLBACK.
func isCommitted(what string) func(pgconn.CommandTag) error {
	return func(tag pgconn.CommandTag) error {
		if tag.String() != "COMMIT" {
			return fmt.Errorf("%s was not committed", what)
		}
		return nil
	}
}

// checkPromoted refuses a new primary that lacks what this node knows to be covered. It would give
// the positions to other records.
func checkPromoted(ctx context.Context, conn *pgx.Conn, known covered) error {
	var hash string
	err := conn.QueryRow(ctx, `SELECT encode(hash, 'hex') FROM log.events WHERE position = $1`, known.position).Scan(&hash)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	if hash != known.hash {
		return fmt.Errorf("the record at position %d was acknowledged and is gone: a standby was promoted that did not have it", known.position)
	}
	return nil
}

// latest returns what is covered.
func (b *barriers) latest() covered {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.highest
}

// disconnect closes a connection without waiting for the server.
func disconnect(conn *pgx.Conn) {
	if conn == nil {
		return
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	conn.Close(ended)
}
