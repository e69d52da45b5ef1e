package projections

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"konto/eventstore/sqlitefile"
)

// takeOver catches up with the log and puts the next file in the place of the
// one in use. What is appended meanwhile is caught up with in ever shorter
// rounds; only for the last one the follower has to wait.
func (b *rebuild) takeOver(ctx context.Context) error {
	for {
		head, err := b.live.log.Head(ctx)
		if err != nil {
			return err
		}
		at, err := b.next.Position(ctx)
		if err != nil {
			return err
		}
		if at+catchUpPage > head {
			break
		}
		if err := b.catchUp(ctx, head); err != nil {
			return err
		}
	}
	b.live.applying.Lock()
	defer b.live.applying.Unlock()
	at, err := b.live.Position(ctx)
	if err != nil {
		return err
	}
	// The next one is never behind: who was told that a position was reached reads
	// from it.
	if err := b.catchUp(ctx, at); err != nil {
		return err
	}
	// What takes long of closing the old file is done while it still answers.
	if err := sqlitefile.Checkpoint(ctx, b.live.file.writer); err != nil {
		return err
	}
	return b.exchange(ctx)
}

// exchange is the one step in which requests wait, some milliseconds.
//
// A write-ahead log belongs to a file by its name alone: one that is left of the
// old file would be played into the new one. So both files are closed, and must
// have none, before the name changes hands. A crash before finds the old file,
// whole; one after it the new one.
func (b *rebuild) exchange(ctx context.Context) (err error) {
	m := b.live
	m.exchange.Lock()
	defer m.exchange.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	// To stop between two of these steps would help nobody.
	ctx = context.WithoutCancel(ctx)
	if err := carryCursors(ctx, m.file.readers, b.next.file.writer); err != nil {
		return err
	}
	if err := closeWhole(b.next.path, b.next.file); err != nil {
		return err
	}
	b.next.file = nil
	if err = closeWhole(m.path, m.file); err == nil {
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

// carryCursors copies the cursors, which do not follow from the log.
func carryCursors(ctx context.Context, from, to *sql.DB) error {
	rows, err := from.QueryContext(ctx, "SELECT name, value FROM cursor")
	if err != nil {
		return err
	}
	type cursor struct {
		name  string
		value []byte
	}
	all, err := collect(rows, func(scan scanner) (c cursor, err error) { return c, scan(&c.name, &c.value) })
	if err != nil {
		return err
	}
	tx, err := to.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for _, c := range all {
		if _, err := tx.ExecContext(ctx, "INSERT INTO cursor (name, value) VALUES (?, ?)", c.name, c.value); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// closeWhole closes a file so that all of it is in the file itself, which it is
// not while another process has it open.
func closeWhole(path string, f *modelFile) error {
	if err := f.close(); err != nil {
		return err
	}
	if _, err := os.Stat(path + "-wal"); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is open in another program too", path)
	}
	return nil
}
