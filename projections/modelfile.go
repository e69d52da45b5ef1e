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

// readers is how many requests can read the file at the same time.
const readers = 4

// modelFile is an open read.db.
type modelFile struct {
	writer  *sql.DB
	readers *sql.DB

	selectAccount    *sql.Stmt
	selectCredential *sql.Stmt
}

// openModelFile adds readers to a writer. If it fails, it closes the writer.
func openModelFile(ctx context.Context, path string, writer *sql.DB) (_ *modelFile, err error) {
	f := &modelFile{writer: writer}
	if f.readers, err = sqlitefile.OpenReaders(path, readers); err != nil {
		return nil, errors.Join(err, f.close())
	}
	if f.selectAccount, err = f.readers.PrepareContext(ctx, accountQuery); err != nil {
		return nil, errors.Join(err, f.close())
	}
	if f.selectCredential, err = f.readers.PrepareContext(ctx, credentialQuery); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

func (f *modelFile) close() error {
	var errs []error
	// The writer is closed last: the last connection moves the write-ahead log
	// into the file, and readers cannot write.
	for _, db := range []*sql.DB{f.readers, f.writer} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// copyCursors copies the cursors, which do not follow from the log.
func copyCursors(ctx context.Context, from, to *sql.DB) error {
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

// closeCompletely closes a file and checks that no write-ahead log is left of it. One
// is left while another process has the file open.
func closeCompletely(path string, f *modelFile) error {
	if err := f.close(); err != nil {
		return err
	}
	if _, err := os.Stat(path + "-wal"); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is open in another program too", path)
	}
	return nil
}
