package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"konto/eventstore"
	"konto/eventstore/sqlitefile"
)

// readerCount is how many reads run at once. Reads are short, and more of them than
// processors only compete.
const readerCount = 4

// Log implements eventstore.AdminLog.
type Log struct {
	path    string
	writer  *writer
	queue   *queue
	feed    *feed
	readers *sql.DB
	queries queries

	checkpointer *checkpointer
	metrics      metrics

	mu     sync.RWMutex // held for reading during each read, so that Close waits for it
	closed bool
	close  func() error // runs once
}

var _ eventstore.AdminLog = (*Log)(nil)

// Open opens or creates the log file at path. No other process may have it open for writing.
// Each error names the file. The error matches sqlitefile.ErrMalformed if the file is damaged.
func Open(ctx context.Context, path string) (*Log, error) {
	w, err := openWriter(ctx, path)
	if err != nil {
		return nil, err
	}
	l := &Log{path: path, writer: w, queue: newQueue(), feed: &feed{position: w.tip.position}, metrics: newMetrics()}
	w.synced = l.metrics.syncs
	if l.readers, err = sqlitefile.OpenReaders(path, readerCount); err != nil {
		return nil, errors.Join(err, w.close())
	}
	if l.queries, err = prepareQueries(ctx, l.readers); err != nil {
		return nil, errors.Join(l.failed("open", err), l.readers.Close(), w.close())
	}
	l.checkpointer = newCheckpointer(path, func() { w.finish.Store(true) })
	go l.checkpointer.run()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		l.writer.run(l.queue, l.feed, l.checkpointer.look)
	}()
	l.close = sync.OnceValue(func() error { return l.shut(stopped) })
	return l, nil
}

// Append implements eventstore.Appender.
//
// If ctx ends while b waits in the queue, b is removed and the error matches ctx's. Once the
// writer has taken b, Append waits for the result even if ctx ends. That takes milliseconds,
// and so ErrOutcomeUnknown always means a failed commit.
func (l *Log) Append(ctx context.Context, b eventstore.Batch) (uint64, error) {
	if err := b.Check(); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("append to %s: %w", b.Stream, err)
	}
	begun := time.Now()
	defer func() { l.metrics.appends.Observe(time.Since(begun).Seconds()) }()
	p := newPending(b)
	if err := l.queue.push(p); err != nil {
		return 0, err
	}
	select {
	case <-p.decided:
	case <-ctx.Done():
		if l.queue.withdraw(p) {
			return 0, fmt.Errorf("append to %s: %w", b.Stream, ctx.Err())
		}
		<-p.decided
	}
	return p.last, p.err
}

// AppendAll implements eventstore.Loader.
func (l *Log) AppendAll(ctx context.Context, batches []eventstore.Batch) (last uint64, err error) {
	all := make([]*pending, len(batches))
	for i, b := range batches {
		if err := b.Check(); err != nil {
			return 0, err
		}
		all[i] = newPending(b)
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := l.queue.push(all...); err != nil {
		return 0, err
	}
	for _, p := range all {
		<-p.decided
		if err == nil {
			last, err = max(last, p.last), p.err
		}
	}
	return last, err
}

// ID implements eventstore.AdminLog.
func (l *Log) ID(ctx context.Context) (id []byte, err error) {
	if err := l.readers.QueryRowContext(ctx, `SELECT id FROM meta`).Scan(&id); err != nil {
		return nil, l.failed("read", err)
	}
	return id, nil
}

// Adopt implements eventstore.AdminLog.
func (l *Log) Adopt(ctx context.Context, id []byte) error {
	if len(id) != idLength {
		return fmt.Errorf("the id of a log has %d bytes, not %d", idLength, len(id))
	}
	done, err := l.writer.db.ExecContext(ctx, `UPDATE meta SET id = ? WHERE NOT EXISTS (SELECT 1 FROM events)`, id)
	if err != nil {
		return l.failed("write to", err)
	}
	if n, err := done.RowsAffected(); err != nil || n != 1 {
		return errors.Join(fmt.Errorf("%s has records already", l.path), err)
	}
	return nil
}

// Close implements eventstore.Log.
func (l *Log) Close() error { return l.close() }

func (l *Log) shut(stopped <-chan struct{}) error {
	l.queue.close()
	<-stopped
	l.feed.close()
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	// The writer is closed last, because the last connection moves the write-ahead log
	// into the file.
	return errors.Join(l.checkpointer.close(), l.readers.Close(), l.writer.close(), l.checkpointer.closeFile())
}

func (l *Log) failed(doing string, err error) error {
	return fmt.Errorf("%s %s: %w", doing, l.path, sqlitefile.Explain(err))
}
