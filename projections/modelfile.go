package projections

import (
	"context"
	"database/sql"
	"errors"

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
