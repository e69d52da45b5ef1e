package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/sqlitefile"
)

// groupLimit is how many records a transaction takes. It bounds the time that an append waits
// behind others to about 20 ms.
const groupLimit = 1000

// tip is the end of the chain, which the next record follows.
type tip struct {
	position uint64
	hash     [sha256.Size]byte
}

// writer is the only one who writes to the file. After run has begun, only its goroutine uses
// the writer, except for heads and finish.
type writer struct {
	path       string
	db         *sql.DB
	statements statements
	tip        tip   // of the last commit
	stale      bool  // the file may have another tip
	due        int64 // no receipt expires before this time, in milliseconds since 1970
	heads      *streamHeads
	changed    map[events.Stream]eventstore.StreamHead // cleared for each transaction

	// finish asks the writer to move the rest of the write-ahead log; see checkpointer.
	finish atomic.Bool

	synced prometheus.Observer // of each commit; set by Open

	// commit is (*sql.Tx).Commit. Tests make it fail.
	commit func(*sql.Tx) error
}

func openWriter(ctx context.Context, path string) (*writer, error) {
	db, err := sqlitefile.OpenWriter(path)
	if err != nil {
		return nil, err
	}
	w := &writer{
		path: path, db: db, stale: true, heads: newStreamHeads(headCount),
		changed: make(map[events.Stream]eventstore.StreamHead), commit: (*sql.Tx).Commit,
	}
	if err := w.open(ctx); err != nil {
		return nil, errors.Join(w.failed("open", err), db.Close())
	}
	return w, nil
}

func (w *writer) open(ctx context.Context) (err error) {
	if err := prepare(ctx, w.db); err != nil {
		return err
	}
	// Commits move no pages, because the checkpointer does. If the pool ever opened another
	// connection, its commits would move pages again, which would only be slower.
	if err := sqlitefile.SetCheckpoints(w.db, 0); err != nil {
		return err
	}
	if w.statements, err = prepareStatements(ctx, w.db); err != nil {
		return err
	}
	return w.refresh()
}

func (w *writer) close() error { return w.db.Close() }

// run writes what is in the queue until the queue is closed and empty. From time to time it
// wakes the checkpointer.
func (w *writer) run(q *queue, f *feed, look func()) {
	written := 0
	for group := w.next(q); group != nil; group = w.next(q) {
		if w.finish.Swap(false) {
			// After a failure the pages stay where they are, and the checkpointer tries again.
			_ = sqlitefile.Checkpoint(context.Background(), w.db)
		}
		w.write(group)
		for _, p := range group {
			if p.err == nil {
				f.add(p.batch.Records)
			}
		}
		// Before Append returns, so that its caller sees a head that counts its records.
		f.advance(w.tip.position)
		for _, p := range group {
			written += p.weight()
			close(p.decided)
		}
		if written >= lookEvery {
			written = 0
			look()
		}
	}
}

// next takes a group of appends. First it lets all runnable goroutines run, so that their
// appends join the group: a commit costs some 100 microseconds of processor time, whatever
// its size. With 64 clients over HTTP this makes 1.3 to 1.4 times as many requests, and
// groups of 30 instead of 20. It takes no time when no goroutine is runnable.
func (w *writer) next(q *queue) []*pending {
	q.wait()
	runtime.Gosched()
	return q.take(groupLimit)
}

// write stores a group and sets the result of each append.
func (w *writer) write(group []*pending) {
	t, err := w.commitGroup(group)
	if err == nil {
		w.tip, w.due = t.tip, t.due
		w.heads.addCommitted(t.changed)
		return
	}
	for _, p := range group {
		// A refused batch was not stored. But the reason for the refusal may not be stored
		// either, so it must not be reported.
		refused := p.err != nil
		p.last, p.err = 0, w.failed("append to", err)
		if refused && errors.Is(err, eventstore.ErrOutcomeUnknown) {
			p.err = fmt.Errorf("append to %s: not stored, because the append before it failed", w.path)
		}
	}
	w.heads.evictAll()
	// Refresh at once, so that followers see what was stored in spite of the error. If it
	// fails, the next group tries again.
	w.stale = true
	_ = w.refresh()
}

// commitGroup writes a group in one transaction. If it returns an error that does not match
// ErrOutcomeUnknown, nothing was stored.
func (w *writer) commitGroup(group []*pending) (*transaction, error) {
	if err := w.refresh(); err != nil {
		return nil, err
	}
	// Without a context, because the context of one caller must not end what others share.
	tx, err := w.db.BeginTx(context.Background(), nil)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	t := w.transaction(tx)
	for _, p := range group {
		if err := t.append(p); err != nil {
			return nil, err
		}
	}
	if err := t.deleteExpired(); err != nil {
		return nil, err
	}
	begun := time.Now()
	err = w.commit(tx)
	w.synced.Observe(time.Since(begun).Seconds())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", eventstore.ErrOutcomeUnknown, err)
	}
	return t, nil
}

// transaction starts from the writer's state.
func (w *writer) transaction(tx *sql.Tx) *transaction {
	clear(w.changed)
	return &transaction{
		statements: w.statements.in(tx), tip: w.tip, now: time.Now().UnixMilli(),
		due: w.due, heads: w.heads, changed: w.changed,
	}
}

// refresh reads the tip from the file if it may have changed.
func (w *writer) refresh() error {
	if !w.stale {
		return nil
	}
	found, err := readTip(w.db)
	if err != nil {
		return fmt.Errorf("read the end of the log: %w", err)
	}
	w.tip, w.stale = found, false
	w.due = 0 // unknown
	w.heads.restart(found.position)
	return nil
}

func (w *writer) failed(doing string, err error) error {
	return fmt.Errorf("%s %s: %w", doing, w.path, sqlitefile.Explain(err))
}
