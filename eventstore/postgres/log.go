package postgres

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"konto/eventstore"
)

// closeWithin is how long Close waits for appends whose outcome is open.
const closeWithin = 10 * time.Second

var _ eventstore.AdminLog = (*Log)(nil)

// Log implements eventstore.AdminLog on Postgres. Several nodes may have the same log open.
type Log struct {
	*Database
	queue     *queue
	covering  chan *turn    // committed, and not yet covered by a barrier
	ended     chan struct{} // closed once no append can be decided any more
	committed atomic.Uint64 // the position of the node's last turn
	feed      *feed
	behind    chan struct{} // has an element if a barrier has covered records that are not in the feed
	swept     time.Time     // when the writer last deleted expired receipts
	close     func() error
}

// OpenLog opens the log in a database. Closing the log closes the database too. The error matches
// ErrImporting if the log holds a part of an import.
func OpenLog(ctx context.Context, db *Database) (*Log, error) {
	var importing bool
	err := db.Read(ctx, func(b *pgx.Batch) {
		b.Queue(`SELECT importing FROM log.meta`).QueryRow(func(row pgx.Row) error { return row.Scan(&importing) })
	})
	if err != nil {
		return nil, err
	}
	if importing {
		return nil, ErrImporting
	}
	return openLog(ctx, db)
}

func openLog(ctx context.Context, db *Database) (*Log, error) {
	begin, err := db.barriers.pass(ctx)
	if err != nil {
		return nil, failed("open the log in", err)
	}
	l := &Log{Database: db, queue: newQueue(), covering: make(chan *turn, 16), ended: make(chan struct{}), feed: newFeed(begin.position), behind: make(chan struct{}, 1)}
	l.close = sync.OnceValue(l.shut)
	db.running.Go(func() {
		defer close(l.ended)
		l.cover()
	})
	db.running.Go(l.write)
	db.running.Go(l.follow)
	return l, nil
}

// Close implements eventstore.Log. It waits 10 s at most: appends that no standby has confirmed by
// then get ErrOutcomeUnknown.
func (l *Log) Close() error { return l.close() }

func (l *Log) shut() error {
	l.queue.close()
	forced := time.AfterFunc(closeWithin, l.stop)
	defer forced.Stop()
	<-l.ended
	l.Database.Close()
	l.feed.close()
	for _, p := range l.queue.take(math.MaxInt) {
		p.err = eventstore.ErrOutcomeUnknown
		close(p.decided)
	}
	return nil
}
