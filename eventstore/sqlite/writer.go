package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"konto/eventstore"
	"konto/eventstore/sqlitefile"
)

// groupLimit is how many records one transaction takes. It bounds how long an
// append can wait behind others, at about 20 ms.
const groupLimit = 1000

// tip is the end of the chain: what the next record follows.
type tip struct {
	position uint64
	hash     [sha256.Size]byte
}

// writer is the only one who writes to the file. After run has begun, only its
// goroutine uses it, but for leaveCheckpoints and takeCheckpoints.
type writer struct {
	path       string
	db         *sql.DB
	statements statements
	tip        tip  // as committed
	stale      bool // tip may not be what the file holds

	// commit is (*sql.Tx).Commit; tests make it fail.
	commit func(*sql.Tx) error
}

func openWriter(ctx context.Context, path string) (*writer, error) {
	db, err := sqlitefile.OpenWriter(path)
	if err != nil {
		return nil, err
	}
	w := &writer{path: path, db: db, stale: true, commit: (*sql.Tx).Commit}
	if err := prepare(ctx, db); err != nil {
		return nil, errors.Join(w.failed("open", err), db.Close())
	}
	if w.statements, err = prepareStatements(ctx, db); err != nil {
		return nil, errors.Join(w.failed("open", err), db.Close())
	}
	if err := w.refresh(); err != nil {
		return nil, errors.Join(w.failed("open", err), db.Close())
	}
	return w, nil
}

func (w *writer) close() error { return w.db.Close() }

// leaveCheckpoints has commits no longer move pages out of the write-ahead log,
// takeCheckpoints has them do it again. Both come between two transactions.
func (w *writer) leaveCheckpoints() error { return sqlitefile.SetCheckpoints(w.db, 0) }

func (w *writer) takeCheckpoints() error {
	return sqlitefile.SetCheckpoints(w.db, sqlitefile.CheckpointPages)
}

// run writes what comes through the queue until it is closed and empty.
func (w *writer) run(q *queue, h *head) {
	for group := q.take(groupLimit); group != nil; group = q.take(groupLimit) {
		w.write(group)
		// Before the verdicts: whoever appended finds the head at its record.
		h.advance(w.tip.position)
		for _, p := range group {
			close(p.decided)
		}
	}
}

// write sets the verdict of each append of the group.
func (w *writer) write(group []*pending) {
	next, err := w.attempt(group)
	if err == nil {
		w.tip = next
		return
	}
	for _, p := range group {
		// A refused batch was not stored whatever became of the commit, but what
		// it was refused for may not be stored either: it gets no verdict.
		refused := p.verdict.err != nil
		p.verdict = verdict{err: w.failed("append to", err)}
		if refused && errors.Is(err, eventstore.ErrOutcomeUnknown) {
			p.verdict.err = fmt.Errorf("append to %s: not stored, the append before it failed", w.path)
		}
	}
	// At once, so that followers see what may have been stored after all. If it
	// fails, the next group tries again.
	w.stale = true
	_ = w.refresh()
}

// attempt writes the group in one transaction and returns the new tip. An error
// that does not match ErrOutcomeUnknown says that nothing was stored.
func (w *writer) attempt(group []*pending) (tip, error) {
	if err := w.refresh(); err != nil {
		return tip{}, err
	}
	// No context: a caller's must not end what others share.
	tx, err := w.db.BeginTx(context.Background(), nil)
	if err != nil {
		return tip{}, err
	}
	defer tx.Rollback()
	t := transaction{statements: w.statements.in(tx), tip: w.tip, now: time.Now().UnixMilli()}
	for _, p := range group {
		if p.verdict, err = t.append(p.batch); err != nil {
			return tip{}, err
		}
	}
	if err := t.sweep(); err != nil {
		return tip{}, err
	}
	if err := w.commit(tx); err != nil {
		return tip{}, fmt.Errorf("%w: %w", eventstore.ErrOutcomeUnknown, err)
	}
	return t.tip, nil
}

// refresh reads the tip from the file if what the writer knows may be wrong.
func (w *writer) refresh() error {
	if !w.stale {
		return nil
	}
	found, err := readTip(w.db)
	if err != nil {
		return fmt.Errorf("read the end of the log: %w", err)
	}
	w.tip, w.stale = found, false
	return nil
}

func (w *writer) failed(doing string, err error) error {
	return fmt.Errorf("%s %s: %w", doing, w.path, sqlitefile.Explain(err))
}
