package postgres

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"konto/eventstore"
)

const (
	// channel is what every turn notifies.
	channel = "konto_log"
	// pollEvery is how often the feed asks for what no notification announced: a notification is a
	// hint, and is lost with its connection.
	pollEvery = 150 * time.Millisecond
	// keptRecords is how many of the last records are kept in memory, for followers.
	keptRecords = 4096
	// gatherFor is how long the feed waits after a notification. Other nodes' records are seen so
	// much later if this node does nothing; under load it saves most of the barriers.
	gatherFor = 5 * time.Millisecond
	// aheadTurns is how many of the node's own turns are kept until what comes before them is read.
	aheadTurns = 64
	// pageSize is how many records the feed reads at once.
	pageSize = 1000
)

// feed has the end of the log as the node's followers may see it: every record in it is covered by
// a barrier. It is filled by the node's own turns, and by follow with what other nodes appended.
type feed struct {
	mu      sync.Mutex
	last    uint64
	kept    []eventstore.Record   // the last ones, up to last, without a gap
	ahead   [][]eventstore.Record // turns of this node that come after a gap, in order
	closed  bool
	changed chan struct{} // closed, and replaced, when last or closed changes
}

func newFeed(last uint64) *feed { return &feed{last: last, changed: make(chan struct{})} }

// offer adds records that a barrier has covered. It returns false if other nodes' records come
// before them, which have to be read.
func (f *feed) offer(records []eventstore.Record) bool {
	if len(records) == 0 {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if records[0].Position > f.last+1 {
		if len(f.ahead) < aheadTurns {
			f.ahead = append(f.ahead, records)
		}
		return false
	}
	f.add(records)
	for len(f.ahead) > 0 && f.ahead[0][0].Position <= f.last+1 {
		f.add(f.ahead[0])
		f.ahead = f.ahead[1:]
	}
	f.wake()
	return true
}

// add adds those of the records that follow the last one.
func (f *feed) add(records []eventstore.Record) {
	if known := f.last + 1 - records[0].Position; known < uint64(len(records)) {
		f.kept = append(f.kept, records[known:]...)
		f.last = records[len(records)-1].Position
	}
	if len(f.kept) > 2*keptRecords {
		f.kept = slices.Clone(f.kept[len(f.kept)-keptRecords:])
	}
}

// gap returns what has to be read to come to a position: what follows the last record, up to the
// first turn that is already there.
func (f *feed) gap(to uint64) (after, end uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.ahead) > 0 {
		to = min(to, f.ahead[0][0].Position-1)
	}
	return f.last, to
}

// wake is called with the lock held.
func (f *feed) wake() {
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *feed) end() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// page returns up to limit of the kept records above after. ok is false if the first of them is
// not kept any more.
func (f *feed) page(after uint64, limit int) (records []eventstore.Record, last uint64, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if after >= f.last || limit <= 0 {
		return nil, f.last, true
	}
	first := f.last - uint64(len(f.kept)) // the position before the first one that is kept
	if after < first {
		return nil, f.last, false
	}
	from := f.kept[after-first:]
	return eventstore.CloneAll(from[:min(limit, len(from))]), f.last, true
}

// wait returns nil once a record above after is in the feed.
func (f *feed) wait(ctx context.Context, after uint64) error {
	for {
		f.mu.Lock()
		last, closed, changed := f.last, f.closed, f.changed
		f.mu.Unlock()
		switch {
		case closed:
			return eventstore.ErrClosed
		case last > after:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.wake()
}

// follow reads what other nodes append, until the log is closed.
func (l *Log) follow() {
	notified := make(chan struct{}, 1)
	l.running.Go(func() { l.listen(notified) })
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for failing := false; ; {
		var err error
		select {
		case <-l.behind:
			err = l.catchUp(l.stopping, l.barriers.latest())
		case <-notified:
			// Most often a barrier comes soon in any case, of a turn or of a read.
			l.pause(gatherFor)
			err = l.lookBeyond(l.stopping)
		case <-tick.C:
			err = l.lookBeyond(l.stopping)
		case <-l.stopping.Done():
			return
		}
		if err != nil && !failing && l.stopping.Err() == nil {
			l.log.Warn("the feed of the log is behind, konto tries again", "error", err)
		}
		failing = err != nil
	}
}

// lookBeyond reads what other nodes have committed and no barrier of this node has covered. It asks
// for a barrier only if there is something.
func (l *Log) lookBeyond(ctx context.Context) error {
	var head uint64
	if err := l.pool.QueryRow(ctx, `SELECT position FROM log.head`).Scan(&head); err != nil {
		return err
	}
	c := l.barriers.latest()
	if head > max(c.position, l.committed.Load()) {
		var err error
		if c, err = l.barriers.pass(ctx); err != nil {
			return err
		}
	}
	return l.catchUp(ctx, c)
}

// isBehind tells follow that a barrier has covered records that are not in the feed.
func (l *Log) isBehind() {
	select {
	case l.behind <- struct{}{}:
	default:
	}
}

// catchUp reads what a barrier has covered and the feed does not have.
func (l *Log) catchUp(ctx context.Context, c covered) error {
	for {
		after, end := l.feed.gap(c.position)
		if after >= end {
			return nil
		}
		page, err := l.readCovered(ctx, c.timeline, after, end)
		if err != nil {
			return err
		}
		for i, r := range page {
			if r.Position != after+uint64(i)+1 {
				return fmt.Errorf("the log has no record at position %d", after+uint64(i)+1)
			}
		}
		if len(page) == 0 {
			return fmt.Errorf("the log has no record at position %d", after+1)
		}
		l.feed.offer(page)
	}
}

// readCovered reads records that a barrier has covered, from a server on the barrier's timeline:
// another one may have other records at these positions.
func (l *Log) readCovered(ctx context.Context, on timeline, after, end uint64) (records []eventstore.Record, err error) {
	b := &pgx.Batch{}
	var at timeline
	b.Queue(`SELECT ` + timelineOf).QueryRow(func(row pgx.Row) error { return row.Scan(&at) })
	b.Queue(`SELECT `+columns+` FROM log.events WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3`,
		after, end, pageSize).Query(func(rows pgx.Rows) error {
		records, err = pgx.CollectRows(rows, scan)
		return err
	})
	if err := l.pool.SendBatch(ctx, b).Close(); err != nil {
		return nil, err
	}
	if at != on {
		l.pool.Reset()
		return nil, fmt.Errorf("the server is on timeline %s, not %s", at, on)
	}
	return records, nil
}

// listen passes notifications on until the log is closed.
func (l *Log) listen(notified chan<- struct{}) {
	for l.stopping.Err() == nil {
		conn, err := pgx.ConnectConfig(l.stopping, l.cfg)
		if err == nil {
			_, err = conn.Exec(l.stopping, "LISTEN "+channel)
		}
		for err == nil {
			if _, err = conn.WaitForNotification(l.stopping); err == nil {
				select {
				case notified <- struct{}{}:
				default:
				}
			}
		}
		disconnect(conn)
		l.pause(pollEvery) // the poll does the work meanwhile
	}
}
