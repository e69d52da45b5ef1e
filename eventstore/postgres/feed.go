package postgres

import (
	"context"
	"fmt"
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
	// pageSize is how many records the feed reads at once.
	pageSize = 1000
)

// feed has the end of the log as the node's followers may see it: every record in it is covered by
// a barrier. It is filled by the node's own turns, and by run with what other nodes appended.
type feed struct {
	mu      sync.Mutex
	last    uint64
	kept    []eventstore.Record // the last ones, up to last, without a gap
	behind  chan struct{}       // has an element if a turn was offered that does not follow last
	closed  bool
	changed chan struct{} // closed, and replaced, when last or closed changes
}

func newFeed(last uint64) *feed {
	return &feed{last: last, behind: make(chan struct{}, 1), changed: make(chan struct{})}
}

// offer adds records that a barrier has covered, if they follow the last one. Otherwise run will
// read them.
func (f *feed) offer(records []eventstore.Record) {
	if len(records) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if first := records[0].Position; first != f.last+1 {
		select {
		case f.behind <- struct{}{}:
		default:
		}
		return
	}
	f.kept = append(f.kept, records...)
	if len(f.kept) > 2*keptRecords {
		f.kept = append([]eventstore.Record(nil), f.kept[len(f.kept)-keptRecords:]...)
	}
	f.last = records[len(records)-1].Position
	f.wake()
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
		select {
		case <-l.feed.behind:
		case <-notified:
		case <-tick.C:
		case <-l.stopping.Done():
			return
		}
		err := l.catchUp(l.stopping)
		if err != nil && !failing && l.stopping.Err() == nil {
			l.log.Warn("the feed of the log is behind, konto tries again", "error", err)
		}
		failing = err != nil
	}
}

// catchUp reads what is committed and not in the feed. It asks for a barrier only if there is
// something.
func (l *Log) catchUp(ctx context.Context) error {
	var head uint64
	if err := l.pool.QueryRow(ctx, `SELECT position FROM log.head`).Scan(&head); err != nil {
		return err
	}
	if head == l.feed.end() || head == l.committed.Load() { // cover offers what this node has committed last
		return nil
	}
	c, err := l.barriers.pass(ctx)
	if err != nil {
		return err
	}
	for {
		last := l.feed.end()
		if c.position <= last { // turns of this node may have gone further meanwhile
			return nil
		}
		page, err := l.readCovered(ctx, c, last)
		if err != nil {
			return err
		}
		for i, r := range page {
			if r.Position != last+uint64(i)+1 {
				return fmt.Errorf("the log has no record at position %d", last+uint64(i)+1)
			}
		}
		if len(page) == 0 {
			return fmt.Errorf("the log has no record at position %d", last+1)
		}
		l.feed.offer(page)
	}
}

// readCovered reads the records after a position that a barrier has covered, from a server that is
// on the barrier's timeline: another one may have other records at these positions.
func (l *Log) readCovered(ctx context.Context, c covered, after uint64) (records []eventstore.Record, err error) {
	b := &pgx.Batch{}
	var at timeline
	b.Queue(`SELECT ` + timelineOf).QueryRow(func(row pgx.Row) error { return row.Scan(&at) })
	b.Queue(`SELECT `+columns+` FROM log.events WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3`,
		after, c.position, pageSize).Query(func(rows pgx.Rows) error {
		records, err = pgx.CollectRows(rows, scan)
		return err
	})
	if err := l.pool.SendBatch(ctx, b).Close(); err != nil {
		return nil, err
	}
	if at != c.timeline {
		return nil, fmt.Errorf("the server is on timeline %s, not %s", at, c.timeline)
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
		if conn != nil {
			disconnect(conn)
		}
		select {
		case <-time.After(pollEvery): // the poll does the work meanwhile
		case <-l.stopping.Done():
		}
	}
}
