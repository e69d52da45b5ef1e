package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"

	"konto/eventstore"
	"konto/eventstore/sqlitefile"
)

// Copy implements eventstore.AdminLog. The copy is a log file; check it with Inspect. While it
// is made, pages stay in the write-ahead log; see checkpointer.
func (l *Log) Copy(ctx context.Context, to string) error {
	if err := l.begin(ctx); err != nil {
		return err
	}
	defer l.mu.RUnlock() // Close waits for a copy; ctx ends it
	return l.readLong(ctx, func() error { return sqlitefile.Copy(ctx, l.path, to) })
}

// Extent implements eventstore.AdminLog.
func (l *Log) Extent(ctx context.Context, position uint64) (e eventstore.Extent, err error) {
	if e.ID, err = l.ID(ctx); err != nil || position == 0 {
		return e, err
	}
	var hash []byte
	if err := l.one(ctx, l.queries.hash, []any{number(position)}, &hash); err != nil {
		return e, err
	}
	if len(hash) != len(e.Chain) {
		return e, fmt.Errorf("%s has no record at position %d", l.path, position)
	}
	e.Position = position
	copy(e.Chain[:], hash)
	return e, nil
}

// Inspect opens a log file that nobody else uses, checks all of it, and returns its extent. An
// empty file is an error. Errors: those of Open, CheckStorage and CheckChain.
func Inspect(ctx context.Context, path string, progress func(done, total uint64)) (e eventstore.Extent, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return e, err
	}
	if info.Size() == 0 { // Open would make a new log of it
		return e, fmt.Errorf("%s: %w", path, sqlitefile.ErrMalformed)
	}
	l, err := Open(ctx, path)
	if err != nil {
		return e, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if err := l.CheckStorage(ctx); err != nil {
		return e, err
	}
	if err := l.CheckChain(ctx, progress); err != nil {
		return e, err
	}
	head, err := l.Head(ctx)
	if err != nil {
		return e, err
	}
	return l.Extent(ctx, head)
}
