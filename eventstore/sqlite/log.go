package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"konto/eventstore"
	"konto/eventstore/sqlitefile"
)

// readerCount is how many reads run at once; others wait for a connection. Reads
// are short, and more of them than processors only compete.
const readerCount = 4

// Log implements eventstore.Log.
type Log struct {
	path    string
	writer  *writer
	queue   *queue
	head    *head
	readers *sql.DB
	queries queries

	checkpointer *checkpointer

	mu     sync.RWMutex // held for reading during each read, so that Close waits for it
	closed bool
	close  func() error // run once
}

// Open opens the log file at path, or makes it. The caller sees to it that no
// other process opens the file for writing. Each error names the file; that of
// a damaged one matches sqlitefile.ErrMalformed.
func Open(ctx context.Context, path string) (*Log, error) {
	w, err := openWriter(ctx, path)
	if err != nil {
		return nil, err
	}
	l := &Log{path: path, writer: w, queue: newQueue(), head: &head{position: w.tip.position}}
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
		l.writer.run(l.queue, l.head, l.checkpointer.look)
	}()
	l.close = sync.OnceValue(func() error { return l.shut(stopped) })
	return l, nil
}

// Append implements eventstore.Appender.
//
// When ctx ends while b waits for its turn, b is withdrawn: nothing is stored and
// the error matches ctx's. Once the writer has taken b, its verdict is waited
// for whatever becomes of ctx: that takes milliseconds, and the caller learns the
// truth. ErrOutcomeUnknown therefore means a failed commit, never a lost patience.
func (l *Log) Append(ctx context.Context, b eventstore.Batch) (uint64, error) {
	if err := b.Check(); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("append to %s: %w", b.Stream, err)
	}
	p, err := l.queue.push(b)
	if err != nil {
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
	return p.verdict.last, p.verdict.err
}

// AppendAll appends batches in their order, with nothing of others' in between, and
// fewer syncs than batches. It returns the position of the last record, and the
// error of the first batch that was refused; those behind it may be stored. It is
// for who fills a log and throws it away when that fails.
func (l *Log) AppendAll(ctx context.Context, batches []eventstore.Batch) (last uint64, err error) {
	for _, b := range batches {
		if err := b.Check(); err != nil {
			return 0, err
		}
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	pushed, err := l.queue.pushAll(batches)
	if err != nil {
		return 0, err
	}
	for _, p := range pushed {
		<-p.decided
		if err == nil {
			last, err = max(last, p.verdict.last), p.verdict.err
		}
	}
	return last, err
}

// ID returns what tells this log from every other: 16 random bytes, made with
// the file. A copy of the file has the same.
func (l *Log) ID(ctx context.Context) (id []byte, err error) {
	if err := l.readers.QueryRowContext(ctx, `SELECT id FROM meta`).Scan(&id); err != nil {
		return nil, l.failed("read", err)
	}
	return id, nil
}

// Close implements eventstore.Log.
func (l *Log) Close() error { return l.close() }

func (l *Log) shut(stopped <-chan struct{}) error {
	l.queue.close()
	<-stopped
	l.head.close()
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	// The writer goes last: the last connection moves the WAL into the file.
	return errors.Join(l.checkpointer.close(), l.readers.Close(), l.writer.close(), l.checkpointer.closeFile())
}
