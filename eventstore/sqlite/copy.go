package sqlite

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"

	"konto/eventstore/sqlitefile"
)

// Extent tells how far a log goes.
type Extent struct {
	ID       []byte // of the log; that of a copy is the same
	Position uint64 // of the last record, 0 when there is none
	// Chain is the hash of the last record, which stands for all of them.
	Chain [sha256.Size]byte
}

// Copy writes the log as it is now into a new file, durably but for the file's
// name, while it is read and appended to. What comes of it must be checked with
// Inspect before anyone relies on it. Errors: fs.ErrExist, those of the file
// system; after any of them the file is not there, unless it was there before.
//
// While a copy is read, no page can leave the write-ahead log for good; see checkpointer.
func (l *Log) Copy(ctx context.Context, to string) error {
	if err := l.begin(ctx); err != nil {
		return err
	}
	defer l.mu.RUnlock() // Close waits for a copy; ctx ends it
	return l.readLong(ctx, func() error { return sqlitefile.Copy(ctx, l.path, to) })
}

// Extent tells how far the log goes up to a position, which is in it.
func (l *Log) Extent(ctx context.Context, position uint64) (e Extent, err error) {
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

// Inspect opens the log in a file that nobody else uses, as Open does, checks all
// of it, and tells how far it goes. An empty file is no log to it. Errors: those
// of Open, CheckFile and CheckChain.
func Inspect(ctx context.Context, path string, tell func(done, total uint64)) (e Extent, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return e, err
	}
	if info.Size() == 0 { // which Open would begin a new log in
		return e, fmt.Errorf("%s: %w", path, sqlitefile.ErrMalformed)
	}
	l, err := Open(ctx, path)
	if err != nil {
		return e, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if err := l.CheckFile(ctx); err != nil {
		return e, err
	}
	if err := l.CheckChainTelling(ctx, tell); err != nil {
		return e, err
	}
	head, err := l.Head(ctx)
	if err != nil {
		return e, err
	}
	return l.Extent(ctx, head)
}

// Adopt gives a log without records the id of another, whose records it is about
// to take in: the keys of that one fit it then.
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
