package postgres

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

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
	// much later if this node does nothing. While this node appends it waits up to gatherMost, because
	// the barrier of an append most often covers what was announced.
	gatherFor  = 5 * time.Millisecond
	gatherMost = 100 * time.Millisecond
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
	notified := make(chan uint64, 1)
	l.running.Go(func() { l.listen(notified) })
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	var announced uint64
	var since time.Time // when it was announced
	var gathered <-chan time.Time
	for failing := false; ; {
		var err error
		select {
		case <-l.behind:
			err = l.catchUp(l.stopping, l.barriers.latest())
		case announced = <-notified:
			if gathered == nil {
				since, gathered = time.Now(), time.After(gatherFor)
			}
		case <-gathered:
			if l.uncovered(announced) && l.queue.busy() && time.Since(since) < gatherMost {
				gathered = time.After(gatherFor)
				break
			}
			gathered = nil
			err = l.lookBeyond(l.stopping, announced)
		case <-tick.C:
			var head uint64
			if err = l.pool.QueryRow(l.stopping, `SELECT position FROM log.head`).Scan(&head); err == nil {
				err = l.lookBeyond(l.stopping, head)
			}
		case <-l.stopping.Done():
			return
		}
		if err != nil && !failing && l.stopping.Err() == nil {
			l.log.Warn("the feed of the log is behind, konto tries again", "error", err)
		}
		failing = err != nil
	}
}

// uncovered reports whether a position is beyond what this node's barriers have covered or, because
// it is not beyond the node's own last turn, soon will.
func (l *Log) uncovered(head uint64) bool {
	return head > max(l.barriers.latest().position, l.committed.Load())
}

// lookBeyond reads what other nodes have committed, up to head at least. It asks for a barrier only
// if there is something that no barrier of this node has covered.
func (l *Log) lookBeyond(ctx context.Context, head uint64) error {
	c := l.barriers.latest()
	if l.uncovered(head) {
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

// listen passes the last position that was announced on until the log is closed.
func (l *Log) listen(notified chan uint64) {
	for l.stopping.Err() == nil {
		conn, err := pgx.ConnectConfig(l.stopping, l.cfg)
		if err == nil {
			_, err = conn.Exec(l.stopping, "LISTEN "+channel)
		}
		for err == nil {
			var n *pgconn.Notification
			if n, err = conn.WaitForNotification(l.stopping); err != nil {
				break
			}
			head, _ := strconv.ParseUint(n.Payload, 10, 64) // it is a hint
			select {
			case <-notified: // an older one
			default:
			}
			notified <- head
		}
		disconnect(conn)
		l.pause(pollEvery) // the poll does the work meanwhile
	}
}
