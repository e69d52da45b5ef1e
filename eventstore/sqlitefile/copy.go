package sqlitefile

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"
)

// copierPragmas are those of a connection that reads one file and writes
// another. It never writes to the one that it reads, and the other is synced by
// Copy: SQLite would do that once, at the end, with all of the file at a time, while
// every sync of a commit waits behind it.
const copierPragmas = `
	PRAGMA busy_timeout = 10000;
	PRAGMA synchronous = OFF;`

// checkpointerPragmas are those of a connection that moves a write-ahead log into
// its file. FULL, because what is overwritten there must be safe in the log.
const checkpointerPragmas = `
	PRAGMA busy_timeout = 10000;
	PRAGMA synchronous = FULL;
	PRAGMA wal_autocheckpoint = 0;`

// syncPiece is how much of a copy is on its way to the disk at most, in bytes.
const syncPiece = 4 << 20

// Copy writes the database in the file from into the file to, as it is when the call
// begins, while others read and write it. The file to must not exist; it
// is made readable by its owner alone, holds nothing that was deleted, and is
// durable, though not its name. After an error it is not there.
//
// As long as it runs the write-ahead log of from cannot be moved into its file;
// see Checkpoint.
func Copy(ctx context.Context, from, to string) (err error) {
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = errors.Join(err, os.Remove(to))
		}
	}()
	db, err := open(from, url.Values{"mode": {"ro"}}, copierPragmas)
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	stop := syncGrowing(f)
	_, err = db.ExecContext(ctx, "VACUUM INTO ?", to)
	if err = errors.Join(err, stop()); err != nil {
		return fmt.Errorf("copy %s: %w", from, Explain(err))
	}
	return f.Sync()
}

// syncGrowing syncs a file while another writes it, in pieces, until stop is called.
func syncGrowing(f *os.File) (stop func() error) {
	end, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for synced := int64(0); ; {
			select {
			case <-end:
				ended <- nil
				return
			case <-tick.C:
			}
			info, err := f.Stat()
			if err == nil && info.Size() >= synced+syncPiece {
				err = f.Sync()
				synced = info.Size()
			}
			if err != nil {
				ended <- err
				return
			}
		}
	}()
	return func() error {
		close(end)
		return <-ended
	}
}

// Checkpoint moves what it can of the write-ahead log of a file into the file. It
// waits for nobody, and nobody who commits waits for it.
func Checkpoint(ctx context.Context, db *sql.DB) error {
	_, err := db.ExecContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)")
	return Explain(err)
}

// LogPages returns how many pages the write-ahead log of a file holds since it was
// begun anew, whether or not they were moved.
func LogPages(ctx context.Context, db *sql.DB) (pages int, err error) {
	var busy, moved int
	if err := db.QueryRowContext(ctx, "PRAGMA wal_checkpoint(NOOP)").Scan(&busy, &pages, &moved); err != nil {
		return 0, Explain(err)
	}
	return pages, nil
}

// OpenCheckpointer opens an existing file for Checkpoint, beside its writer.
func OpenCheckpointer(path string) (*sql.DB, error) {
	db, err := open(path, url.Values{"mode": {"rw"}}, checkpointerPragmas)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// CheckpointPages is the number of pages in the write-ahead log from which on a
// commit of a writer moves them into the file, unless SetCheckpoints says otherwise,
// and from which on it is worth it to move them beside the writer.
const CheckpointPages = 20_000

// SetCheckpoints sets that number for a writer; 0 is never.
func SetCheckpoints(writer *sql.DB, pages int) error {
	_, err := writer.Exec(fmt.Sprintf("PRAGMA wal_autocheckpoint = %d", pages))
	return Explain(err)
}

// CheckIntegrity has SQLite read every page of a file: that rows, indices and free
// pages are what they must be. Errors: fs.ErrNotExist, ErrMalformed.
func CheckIntegrity(ctx context.Context, path string) error {
	db, err := OpenReaders(path, 1)
	if err != nil {
		return err
	}
	defer db.Close()
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&verdict); err != nil {
		return fmt.Errorf("check %s: %w", path, Explain(err))
	}
	if verdict != "ok" { // which may quote what is stored
		return fmt.Errorf("check %s: %w", path, ErrMalformed)
	}
	return nil
}
