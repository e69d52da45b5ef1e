package projections

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"sync"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/sqlitefile"
)

// ErrRebuilding is returned by Rebuild when another rebuild of the read model
// runs. Nothing was done; the other rebuild goes on.
var ErrRebuilding = errors.New("the read model is being rebuilt already")

// RebuildConfig configures a rebuild.
type RebuildConfig struct {
	// DryRun compares only: the file in use stays.
	DryRun bool
	// Progress is told how far each task has come. It is called by one goroutine
	// at a time. It may be nil.
	Progress func(done, total uint64, unit string)
}

// Rebuilt is the result of a rebuild.
type Rebuilt struct {
	Events      uint64       `json:"events"`   // how many were folded
	Position    uint64       `json:"position"` // at which the two files were compared
	Differences []Difference `json:"differences"`
	Exchanged   bool         `json:"exchanged"` // whether the new file is in use
}

// Different counts the rows that differ.
func (r Rebuilt) Different() (rows int) {
	for _, d := range r.Differences {
		rows += d.Missing + d.Surplus + d.Different
	}
	return rows
}

// rebuild makes the next file, beside the one that live uses.
type rebuild struct {
	live, next *ReadModel
	cfg        RebuildConfig

	mu          sync.Mutex // guards what follows, and calls of Progress
	done, total uint64     // of the present task
	unit        string     // in which they are counted
}

// Rebuild makes read.db again from the log. It follows the log into a second
// file, compares the two files at one position, and replaces the first file by the
// second, which then has the first one's cursors and all that was appended
// meanwhile. Requests are answered throughout, from the first file and then from
// the second.
//
// After an error, or when ctx ends or the process does, the old file is in use as
// before. An event that cannot be read or folded is such an error. Only one
// rebuild runs at a time: ErrRebuilding.
func (m *ReadModel) Rebuild(ctx context.Context, cfg RebuildConfig) (r Rebuilt, err error) {
	if !m.rebuilding.TryLock() {
		return r, ErrRebuilding
	}
	defer m.rebuilding.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-m.closing:
			cancel(eventstore.ErrClosed)
		case <-ctx.Done():
		}
	}()
	r, err = m.rebuild(ctx, cfg)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return r, fmt.Errorf("rebuild read model %s: %w", m.path, sqlitefile.Explain(err))
	}
	return r, nil
}

// rebuild runs the four steps: fill, compare, catch up, exchange. A crash in any
// of them leaves the old file in use, and the next start deletes the other one.
func (m *ReadModel) rebuild(ctx context.Context, cfg RebuildConfig) (r Rebuilt, err error) {
	b := &rebuild{live: m, cfg: cfg, next: newReadModel(m.nextPath(), m.log, m.keys)}
	if err := removeDatabase(b.next.path); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, b.discard()) }()
	if r.Events, err = m.Position(ctx); err != nil {
		return r, err
	}
	if err := b.fill(ctx, r.Events); err != nil {
		return r, err
	}
	if r.Position, r.Differences, err = b.compare(ctx); err != nil || cfg.DryRun {
		return r, err
	}
	err = b.takeOver(ctx)
	r.Exchanged = err == nil
	return r, err
}

// nextPath is where the next file is made.
func (m *ReadModel) nextPath() string { return m.path + ".next" }

// fill makes the next file as it is at a position. The file is written without
// journal and without sync, and synced once when it is complete.
func (b *rebuild) fill(ctx context.Context, position uint64) error {
	b.begin(position, "events folded")
	err := sqlitefile.Make(b.next.path, func(db *sql.DB) error {
		if err := b.next.logFile().createTables(ctx, db); err != nil {
			return err
		}
		b.next.file = &modelFile{writer: db}
		defer func() { b.next.file = nil }()
		return b.foldAll(ctx, position)
	})
	if err != nil {
		return err
	}
	b.finish()
	writer, err := b.next.logFile().openWriter()
	if err != nil {
		return err
	}
	b.next.file, err = openModelFile(ctx, b.next.path, writer)
	return err
}

// rebuildPage is how many events are read at a time.
const rebuildPage = 500

// catchUp folds into the next file what the log holds after the file's position, up
// to another position, as the follower does.
func (b *rebuild) catchUp(ctx context.Context, to uint64) error {
	for {
		at, err := b.next.Position(ctx)
		if err != nil || at >= to {
			return err
		}
		records, err := b.readPage(ctx, at, to)
		if err != nil {
			return err
		}
		page, err := b.decrypt(ctx, records)
		if err != nil {
			return err
		}
		if _, err := b.next.update(ctx, func(ctx context.Context, f *fold) error { return f.takeInPage(ctx, page) }); err != nil {
			return err
		}
	}
}

// readPage reads the next records after one position, up to another one.
func (b *rebuild) readPage(ctx context.Context, at, to uint64) ([]eventstore.Record, error) {
	records, err := b.live.log.ReadAll(ctx, at, int(min(to-at, rebuildPage)))
	for len(records) > 0 && records[len(records)-1].Position > to {
		records = records[:len(records)-1]
	}
	if err == nil && len(records) == 0 {
		err = fmt.Errorf("%w: the log ends before position %d", ErrOutOfStep, to)
	}
	return records, err
}

func (b *rebuild) decrypt(ctx context.Context, records []eventstore.Record) ([]events.Event, error) {
	if err := eventstore.Prefetch(ctx, b.live.keys, records); err != nil {
		return nil, err
	}
	page := make([]events.Event, len(records))
	for i, r := range records {
		var err error
		if page[i], err = eventstore.OpenPayload(ctx, b.live.keys, r); err != nil {
			return nil, &eventstore.EventError{Type: r.Type, Position: r.Position, Err: err}
		}
	}
	return page, nil
}

// takeOver catches up with the log and puts the next file in the place of the
// one in use. The follower has to wait only for the last part of that.
func (b *rebuild) takeOver(ctx context.Context) error {
	head, err := b.live.log.Head(ctx)
	if err != nil {
		return err
	}
	if err := b.catchUp(ctx, head); err != nil {
		return err
	}
	b.live.applying.Lock()
	defer b.live.applying.Unlock()
	at, err := b.live.Position(ctx)
	if err != nil {
		return err
	}
	// The next file must not be behind: a caller that was told that a position was
	// reached reads from it.
	if err := b.catchUp(ctx, at); err != nil {
		return err
	}
	// The checkpoint is what takes long when a file is closed. It is done while the
	// old file still answers.
	if err := sqlitefile.Checkpoint(ctx, b.live.file.writer); err != nil {
		return err
	}
	return b.exchange(ctx)
}

// exchange replaces the file. It is the one step in which requests wait, for some
// milliseconds.
//
// SQLite finds a write-ahead log by the name of its file. One that was left of
// the old file would be applied to the new one. So both files are closed, and
// must have no such log, before the new file is renamed. After a crash before the
// rename the old file is there, complete; after a crash behind it the new one is.
func (b *rebuild) exchange(ctx context.Context) (err error) {
	m := b.live
	m.exchange.Lock()
	defer m.exchange.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	// To stop between two of these steps would help nobody.
	ctx = context.WithoutCancel(ctx)
	if err := copyCursors(ctx, m.file.readers, b.next.file.writer); err != nil {
		return err
	}
	if err := closeCompletely(b.next.path, b.next.file); err != nil {
		return err
	}
	b.next.file = nil
	if err = closeCompletely(m.path, m.file); err == nil {
		err = os.Rename(b.next.path, m.path)
	}
	// Whichever file has the name now is opened.
	writer, errOpen := m.logFile().openWriter()
	if errOpen == nil {
		var file *modelFile
		if file, errOpen = openModelFile(ctx, m.path, writer); errOpen == nil {
			m.file = file
		}
	}
	m.accounts.clear()
	m.credentials.clear()
	if errOpen != nil {
		return errors.Join(err, fmt.Errorf("%w; konto must be restarted", errOpen))
	}
	if err != nil {
		return err
	}
	return sqlitefile.SyncName(m.path)
}

// discard closes and removes what is left of the next file.
func (b *rebuild) discard() error {
	var err error
	if b.next.file != nil {
		err = b.next.file.close()
	}
	return errors.Join(err, removeDatabase(b.next.path))
}

// begin starts the task that progress is told of.
func (b *rebuild) begin(total uint64, unit string) {
	b.done, b.total, b.unit = 0, total, unit
}

// advance adds to what is done of the task. Only finish tells of its end.
func (b *rebuild) advance(by uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done += by
	if b.cfg.Progress != nil && b.done < b.total {
		b.cfg.Progress(b.done, b.total, b.unit)
	}
}

// finish ends the task.
func (b *rebuild) finish() {
	b.done = b.total
	if b.cfg.Progress != nil {
		b.cfg.Progress(b.total, b.total, b.unit)
	}
}
