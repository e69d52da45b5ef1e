package postgres

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"konto/events"
	"konto/eventstore"
)

// groupLimit is how many records one turn appends. It bounds how long it holds the row.
const groupLimit = 1000

// A node deletes up to sweepLimit expired receipts every sweepEvery.
const (
	sweepEvery = time.Second
	sweepLimit = 10_000
)

// This file is the commit protocol. One goroutine of each node, the writer, takes turns with the
// writers of other nodes:
//
//  1. lock    lock the one row of log.head, and only then take the appends that wait
//  2. look    read everything that the judgement needs, in one round trip
//  3. judge   refuse or accept each append, in order, and compute the chain
//  4. store   insert, update the row and COMMIT locally, in one round trip
//  5. cover   join a barrier, and begin the next turn while the barrier waits for the standby
//  6. decide  once the barrier has completed on the turn's timeline, answer the appends
//
// A crash of the node before 4 leaves nothing. A crash after 4 leaves records that were not
// acknowledged; a barrier of another node makes them durable, or a failover removes them.
//
// A crash of the server, or a broken connection, at 4 leaves the writer in doubt: the COMMIT may
// still happen later. Reading would not tell. So the same appends go back to the front of the
// queue, and the next turn, which holds the row and therefore runs after that COMMIT or instead
// of it, recognizes by their events' ids what was stored. A failover between 4 and 6 is noticed by
// the barrier's timeline, and leads to the same repetition.

// turn is one group of appends under way.
type turn struct {
	timeline timeline
	now      int64 // the server's clock when the turn got the row, milliseconds since 1970
	position uint64
	hash     [sha256.Size]byte
	group    []*pending
	records  []eventstore.Record // that were accepted, in the order of their positions
	round    *round              // the barrier that began after the commit
	hashes   [][]byte            // of the records
}

// Append implements eventstore.Appender. If ctx ends while b waits for its turn, nothing is stored
// and the error matches ctx's. If ctx ends later, the error matches ErrOutcomeUnknown.
func (l *Log) Append(ctx context.Context, b eventstore.Batch) (uint64, error) {
	if err := b.Check(); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("append to %s: %w", b.Stream, err)
	}
	begun := time.Now()
	defer func() { l.metrics.appends.Observe(time.Since(begun).Seconds()) }()
	pushed, err := l.queue.push(b)
	if err != nil {
		return 0, err
	}
	p := pushed[0]
	select {
	case <-p.decided:
		return p.last, p.err
	case <-ctx.Done():
	}
	return 0, l.abandon(ctx, pushed)
}

// abandon ends appends that were pushed together, when ctx has ended.
func (l *Log) abandon(ctx context.Context, pushed []*pending) error {
	stream := pushed[0].batch.Stream
	if l.queue.withdraw(pushed) && !pushed[0].doubted {
		return fmt.Errorf("append to %s: %w", stream, ctx.Err())
	}
	return fmt.Errorf("append to %s: %w: %w", stream, eventstore.ErrOutcomeUnknown, errors.Join(ctx.Err(), l.barriers.trouble()))
}

// write takes turns until the queue is closed and nothing is undecided.
func (l *Log) write() {
	defer close(l.covering)
	var conn *pgx.Conn
	failing := false
	for l.queue.wait(l.stopping) {
		t := &turn{}
		var err error
		if conn == nil {
			conn, err = pgx.ConnectConfig(l.stopping, l.cfg)
		}
		if err == nil {
			err = l.take(t, conn)
		}
		switch {
		case err == nil && len(t.group) > 0:
			t.round = l.barriers.join()
			l.committed.Store(t.position)
			l.covering <- t
			failing = false
		case err != nil:
			disconnect(conn)
			conn = nil
			if isFinal(err) && len(t.group) > 0 {
				l.queue.decide(t.group, func(p *pending) { p.refuse(err) })
				break
			}
			l.repeat(t)
			if !failing {
				l.log.Warn("the log cannot be appended to, konto tries again", "error", err)
			}
			failing = true
			l.pause(retryEvery)
		}
	}
	disconnect(conn)
}

// take does steps 1 to 4. After an error the turn has the appends that it had taken.
func (l *Log) take(t *turn, conn *pgx.Conn) error {
	if err := t.lock(l.stopping, conn); err != nil {
		return err
	}
	begun := time.Now()
	t.group = l.queue.take(groupLimit)
	defer func() {
		l.metrics.turns.Observe(time.Since(begun).Seconds())
		l.metrics.group.Observe(float64(len(t.group)))
	}()
	k, err := t.look(l.stopping, conn)
	if err != nil {
		return err
	}
	c := t.judge(k)
	if time.Since(l.swept) > sweepEvery {
		c.sweep, l.swept = sweepLimit, time.Now()
	}
	return t.store(l.stopping, conn, c)
}

// cover does step 6 for one turn after the other, until covering is closed.
func (l *Log) cover() {
	for t := range l.covering {
		<-t.round.done
		switch {
		case t.round.err != nil: // the log is closed by force
			l.queue.decide(t.group, func(p *pending) { p.last, p.err = 0, eventstore.ErrOutcomeUnknown })
		case t.round.covered.timeline != t.timeline:
			l.repeat(t)
		default:
			// What an earlier turn stored, of which no answer came, is not among the records.
			if !l.feed.offer(t.records) || l.feed.end() < t.position {
				l.isBehind()
			}
			l.queue.decide(t.group, nil)
		}
	}
}

// repeat makes the turn's appends go first in the next turn.
func (l *Log) repeat(t *turn) {
	if len(t.group) > 0 {
		l.metrics.doubts.Inc()
	}
	l.queue.again(t.group)
}

func (t *turn) lock(ctx context.Context, conn *pgx.Conn) error {
	b := &pgx.Batch{}
	b.Queue("BEGIN")
	b.Queue("SET LOCAL synchronous_commit = local")
	// The timeline is asked for before the lock is waited for, the clock after.
	b.Queue("SELECT position, hash, " + timelineOf + ` FROM log.head FOR NO KEY UPDATE`).QueryRow(func(row pgx.Row) error {
		var hash []byte
		err := row.Scan(&t.position, &hash, &t.timeline)
		copy(t.hash[:], hash)
		return err
	})
	b.Queue("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint").QueryRow(func(row pgx.Row) error {
		return row.Scan(&t.now)
	})
	return conn.SendBatch(ctx, b).Close()
}

// known is what the log has of everything that the group names.
type known struct {
	heads    map[events.Stream]eventstore.StreamHead
	holders  map[eventstore.ClaimKey][]events.Stream // in order
	receipts map[eventstore.ReceiptKey]receipt       // that have not expired
	stored   map[place]stored                        // what doubted appends may have stored
}

type place struct {
	stream  events.Stream
	version uint64
}

type stored struct {
	id       [16]byte
	position uint64
}

// streamHeadsQuery finds where streams end; those that have no record are missing in the answer.
const streamHeadsQuery = `SELECT asked.stream, last.version, last.position FROM unnest($1::text[]) AS asked (stream)
	CROSS JOIN LATERAL (SELECT version, position FROM log.events WHERE events.stream = asked.stream COLLATE "C"
		ORDER BY version DESC LIMIT 1) AS last`

// look reads in one round trip.
func (t *turn) look(ctx context.Context, conn *pgx.Conn) (*known, error) {
	k := &known{
		heads: map[events.Stream]eventstore.StreamHead{}, holders: map[eventstore.ClaimKey][]events.Stream{},
		receipts: map[eventstore.ReceiptKey]receipt{}, stored: map[place]stored{},
	}
	var streams, doubted []string
	var versions []int64
	var claims, receipts [][]byte
	for _, p := range t.group {
		if _, ok := k.heads[p.batch.Stream]; !ok {
			k.heads[p.batch.Stream] = eventstore.StreamHead{}
			streams = append(streams, string(p.batch.Stream))
		}
		for _, op := range p.batch.Claims {
			claims = append(claims, op.Key[:])
		}
		for _, r := range p.batch.Receipts {
			receipts = append(receipts, r.Key[:])
		}
		if p.doubted {
			for _, r := range p.batch.Records {
				doubted, versions = append(doubted, string(r.Stream)), append(versions, int64(r.Version))
			}
		}
	}
	b := &pgx.Batch{}
	each := func(query string, args []any, into []any, do func()) {
		b.Queue(query, args...).Query(func(rows pgx.Rows) error {
			_, err := pgx.ForEachRow(rows, into, func() error { do(); return nil })
			return err
		})
	}
	var stream events.Stream
	var head eventstore.StreamHead
	each(streamHeadsQuery, []any{streams}, []any{&stream, &head.Version, &head.Position}, func() { k.heads[stream] = head })
	var key, id []byte
	if len(claims) > 0 {
		each(`SELECT key, stream FROM log.claims WHERE key = ANY($1) ORDER BY key, stream`,
			[]any{claims}, []any{&key, &stream}, func() {
				claim := eventstore.ClaimKey(key)
				k.holders[claim] = append(k.holders[claim], stream)
			})
	}
	if len(receipts) > 0 {
		var r receipt
		each(`SELECT key, stream, data FROM log.receipts WHERE key = ANY($1) AND expires > $2`,
			[]any{receipts, t.now}, []any{&key, &r.stream, &r.Data}, func() { k.receipts[eventstore.ReceiptKey(key)] = r })
	}
	if len(doubted) > 0 {
		var at place
		var position uint64
		each(`SELECT stream, version, id, position FROM log.events
			JOIN unnest($1::text[], $2::bigint[]) AS asked (stream, version) USING (stream, version)`,
			[]any{doubted, versions}, []any{&at.stream, &at.version, &id, &position}, func() { k.stored[at] = stored{[16]byte(id), position} })
	}
	return k, conn.SendBatch(ctx, b).Close()
}
