package projections

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/oklog/ulid/v2"

	"konto/eventstore"
	"konto/eventstore/sqlitefile"
)

// ErrRebuilding tells that the read model is being rebuilt already. Nothing was
// done; the other rebuild goes on.
var ErrRebuilding = errors.New("the read model is being rebuilt already")

// RebuildConfig configures a rebuild.
type RebuildConfig struct {
	// DryRun compares only: the file in use stays.
	DryRun bool
	// Progress is told how far each task has come, by one goroutine at a time;
	// nil: nobody is.
	Progress func(done, total uint64, unit string)
}

// Rebuilt is what came of a rebuild.
type Rebuilt struct {
	Events      uint64       `json:"events"`   // that were folded
	Position    uint64       `json:"position"` // at which the two were compared
	Differences []Difference `json:"differences"`
	Exchanged   bool         `json:"exchanged"` // whether the new one is in use
}

// Different counts the rows that differ.
func (r Rebuilt) Different() (rows int) {
	for _, d := range r.Differences {
		rows += d.Missing + d.Surplus + d.Different
	}
	return rows
}

// rebuild is the making of the next file.
type rebuild struct {
	live, next *ReadModel
	cfg        RebuildConfig
	workers    int
	accounts   int // how many parts the accounts are folded in

	last ulid.ULID // id of the event at the position that is built

	mu          sync.Mutex // guards what follows
	done, total uint64     // of the present task
	unit        string     // in which they are counted
}

// Rebuild makes the file once more from the log, beside the one in use; compares
// the two at one position; and puts the new one in the other's place, with the
// cursors and whatever was appended meanwhile. Requests are answered throughout,
// from the old file and then from the new.
//
// After an error, or when ctx ends or the process does, the old file is in use as
// before. An event that cannot be read or folded is such an error. Only one rebuild runs at a time:
// ErrRebuilding.
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

func (m *ReadModel) rebuild(ctx context.Context, cfg RebuildConfig) (r Rebuilt, err error) {
	b := &rebuild{live: m, cfg: cfg, next: newReadModel(m.nextPath(), m.log, m.keys), workers: min(runtime.GOMAXPROCS(0), 4)}
	if err := removeDatabase(b.next.path); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, b.discard()) }()
	if r.Events, err = m.Position(ctx); err != nil {
		return r, err
	}
	if err := b.build(ctx, r.Events); err != nil {
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

// build makes the next file as it is at a position, and durable.
func (b *rebuild) build(ctx context.Context, position uint64) error {
	err := sqlitefile.Make(b.next.path, func(db *sql.DB) error {
		if err := b.next.logFile().createTables(ctx, db); err != nil {
			return err
		}
		b.next.file = &modelFile{writer: db}
		defer func() { b.next.file = nil }()
		return b.fill(ctx, position)
	})
	if err != nil {
		return err
	}
	writer, err := b.next.logFile().openWriter()
	if err != nil {
		return err
	}
	b.next.file, err = openModelFile(ctx, b.next.path, writer)
	return err
}

// fill folds the log up to a position. The log is in the order of positions, in
// which the accounts take turns: each event would need another key and another
// row. So it is first spread over parts, in each of which some of the accounts
// are with all of their events; then a part is folded at a time.
func (b *rebuild) fill(ctx context.Context, position uint64) error {
	b.begin(position, "events read")
	parts, err := b.spread(ctx, position)
	if err != nil {
		return err
	}
	b.finish()
	defer closeSpills(parts)
	b.begin(position, "events folded")
	if err := b.foldAccounts(ctx, parts); err != nil {
		return err
	}
	if err := b.foldOthers(ctx, parts); err != nil {
		return err
	}
	b.finish()
	_, err = b.next.file.writer.ExecContext(ctx, "UPDATE progress SET position = ?, event = ?", position, b.last[:])
	return err
}

// begin names the task that progress is told of.
func (b *rebuild) begin(total uint64, unit string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done, b.total, b.unit = 0, total, unit
}

// advance adds to what is done of the task. The end is told by finish alone.
func (b *rebuild) advance(by uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done += by
	if b.cfg.Progress != nil && b.done < b.total {
		b.cfg.Progress(b.done, b.total, b.unit)
	}
}

func (b *rebuild) finish() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cfg.Progress != nil {
		b.cfg.Progress(b.total, b.total, b.unit)
	}
}

// discard closes and removes what is left of the next file.
func (b *rebuild) discard() error {
	var err error
	if b.next.file != nil {
		err = b.next.file.close()
	}
	return errors.Join(err, removeDatabase(b.next.path))
}

// catchUpPage is how many events are caught up with at a time.
const catchUpPage = 500

// catchUp applies to the next file what the log holds up to a position.
func (b *rebuild) catchUp(ctx context.Context, to uint64) error {
	for {
		at, err := b.next.Position(ctx)
		if err != nil || at >= to {
			return err
		}
		records, err := b.live.log.ReadAll(ctx, at, int(min(to-at, catchUpPage)))
		if err != nil {
			return err
		}
		if len(records) == 0 {
			return fmt.Errorf("%w: the log ends before position %d", ErrOutOfStep, to)
		}
		batch, err := openAll(ctx, b.live.keys, records)
		if err != nil {
			return err
		}
		if err := b.next.Apply(ctx, batch); err != nil {
			return err
		}
	}
}
